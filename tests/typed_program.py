"""What a program of a user is to mypy: `make types` checks it against the wheel; it is never run."""

from pathlib import Path
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import calzoo


def axons(stack: NDArray[np.uint16]) -> None:
    found = calzoo.segment_axons(stack, voxel_um=(2, 0.5, 0.5), axon_diameter="1.5um", provider="cpu")
    assert_type(found, calzoo.AxonSegmentation)
    assert_type(found.semantic, NDArray[np.uint8])
    assert_type(found.instances, NDArray[np.int32])
    assert_type(found.count, int)
    with calzoo.open_volume(Path("stack.tif"), axes="zyx") as volume:
        assert_type(volume, calzoo.Volume)
        assert_type(volume.planes(0, 4), NDArray[Any])
        calzoo.segment_axons(volume, model=calzoo.load_model("axons"), voxel_um=volume.voxel_um)


def cells(movie: NDArray[np.float32]) -> None:
    opened = calzoo.open_movie(["a.tif", "b.tif"], frame_rate_hz=30, pixel_um=(0.8, 0.8))
    assert_type(opened, calzoo.Movie)
    assert_type(opened[:10], NDArray[Any])
    pictures = calzoo.summary_images(opened)
    assert_type(pictures.correlation, NDArray[np.float32])
    for found in (
        calzoo.find_cells(opened, summary=pictures, diameter="10um"),
        calzoo.find_cells(movie, pixel_um=opened.pixel_um),
        calzoo.find_cells(summary=movie[0], model={"proposal": "a.onnx", "instance": Path("b.onnx")}),
    ):
        assert_type(found, calzoo.CellDetection)
        assert_type(found.masks, calzoo.Masks)
        assert_type(found.masks.areas, NDArray[np.int64])
        assert_type(found.centers, NDArray[np.float64])
        if found.traces is not None:
            assert_type(found.traces.corrected(), NDArray[np.float32])
    for rows, columns in calzoo.read_masks("masks.npz"):
        assert_type(rows, NDArray[np.int32])
        movie[:, rows, columns].mean(axis=1)


def centers(movie: NDArray[np.uint8]) -> None:
    found = calzoo.find_centers(movie, diameter=11, count=20, pixel_um=(1.2, 1.2), frame_rate_hz=20)
    assert_type(found, calzoo.Centers)
    assert_type(found.points, NDArray[np.float64])
    assert_type(found.table["y_um"], NDArray[Any])
    found.save(Path("result"))


def registration(movie: NDArray[np.int16]) -> None:
    result = calzoo.register_movie(movie, others=[movie], bidirectional="auto", return_flow=True)
    assert_type(result, calzoo.Registration)
    assert_type(result.flow, NDArray[np.float32] | None)
    assert_type(result.bad, NDArray[np.bool_])
    calzoo.write_movie("registered.tif", result.movie)
    registrar = calzoo.Registrar(result.template, provider="cuda")
    assert_type(registrar(movie[0]), calzoo.Registered)


def stimuli(movie: calzoo.Movie, later: NDArray[np.uint16]) -> None:
    table = calzoo.read_stimuli("stimuli.csv", frames=len(movie), frame_rate_hz=movie.frame_rate_hz)
    assert_type(table, calzoo.Stimuli)
    assert_type(calzoo.decode_stimuli(movie, stimuli=table, target="stimulated").found, NDArray[np.bool_])
    before = calzoo.analyse_stimuli(movie, table, progress=print)
    assert_type(before.zncc, NDArray[np.float64])
    assert_type(before.similarity(1).mean(), float)
    change = calzoo.compare_analyses(before, calzoo.analyse_stimuli(later, table))
    assert_type(change, calzoo.StimulusComparison)
    assert_type(change.spread.p, float)
    assert_type(calzoo.explain("network.onnx", later[0], method="occlusion").map, NDArray[np.float32])


def mistakes(movie: NDArray[np.float32]) -> None:
    calzoo.segment_whales(movie)  # type: ignore[attr-defined]
    calzoo.segment_axons(movie, provider="gpu")  # type: ignore[arg-type]
    calzoo.find_cells(movie, threads="two")  # type: ignore[arg-type]
    print(calzoo.find_centers(movie).labels)  # type: ignore[attr-defined]
