"""Simulated beside real recordings, and how long simulating takes.

    python benchmarks/simulators.py pictures PICTURE [--data FOLDER] [--only NAME ...]
    python benchmarks/simulators.py gallery PICTURE
    python benchmarks/simulators.py speed

"pictures" draws each real recording of FOLDER (absent: none) above a simulated one whose parameters were
set by eye: mean, standard deviation, correlation with the neighbours, one frame, and the variance of the
noise against the mean; and prints numbers that should be alike. "gallery" shows one recording of each kind.
"speed" times 500 frames of 256 x 256.

Only recordings with a free licence (marked below) may be shown outside.
"""

import argparse
import io
import statistics
import time
import zipfile
from pathlib import Path

import matplotlib
import numpy as np
import tifffile
from PIL import Image
from scipy import ndimage

from calzoo.imaging.contours import outline_polygons
from calzoo.imaging.summary import summary_images
from calzoo.simulation.one_photon import simulate_one_photon
from calzoo.simulation.one_photon_style import LOOKS, OnePhotonStyle
from calzoo.simulation.two_photon import simulate_two_photon
from calzoo.simulation.two_photon_style import KINDS, TwoPhotonStyle

matplotlib.use("Agg")
from matplotlib import pyplot

PARTS = ("mean", "standard deviation", "correlation with neighbours", "one frame", "noise against mean")


class Frames:
    """An array that is read like a movie."""

    def __init__(self, array, frame_rate_hz=None):
        self.array, self.frame_rate_hz, self.pixel_um = array, frame_rate_hz, None
        self.shape, self.dtype = array.shape, array.dtype

    def frames(self, start=0, stop=None):
        """Return neighbouring frames, (n, Y, X)."""
        return self.array[start:stop]


def squared(name):
    """Return how to read a movie that was stored as roots."""
    return lambda data: np.square(tifffile.imread(data / name).astype(np.float32))


def plain(name):
    """Return how to read a TIFF as it is."""
    return lambda data: tifffile.imread(data / name).astype(np.float32)


def pictures_in_zip(name):
    """Return how to read a zip of JPEG frames."""

    def read(data):
        with zipfile.ZipFile(data / name) as file:
            names = sorted(entry for entry in file.namelist() if entry.endswith("jpg"))
            pictures = [Image.open(io.BytesIO(file.read(entry))).convert("L") for entry in names]
        return np.stack([np.asarray(picture) for picture in pictures]).astype(np.float32)

    return read


# name: how to read the real one (or None), simulator, shape, frames in a bin, style
MATCHED = {}
MATCHED["fmi"] = (
    squared("fmi_2p_raw/frames_0180_0379_sqrt8.tif"),  # MIT
    simulate_two_photon,
    (200, 256, 256),
    1,
    TwoPhotonStyle(
        pixel_um=1.4,
        soma_um=13.0,
        soma_spread=0.15,
        frame_rate_hz=30.0,
        psf_um=0.75,
        rayleigh_um=4.5,
        roundness=0.1,
        density=350e3,
        patchiness=0.5,
        labelled=0.8,
        dim_level=0.8,
        cell_level=1.2,
        cell_spread=0.5,
        filled_share=0.05,
        texture=0.3,
        fibres=0.15,
        filaments=0.2,
        axons=100.0,
        passing=30.0,
        capillaries=30.0,
        surface_vessels=0,
        haze=0.3,
        vignette=0.98,
        vignette_radius=0.62,
        vignette_power=5.0,
        unevenness=0.1,
        neuropil_photons=2.6,
        gain=200.0,
        pulse_spread=0.45,
        frame_noise=25.0,
        bandwidth_px=0.3,
        neuropil_activity=0.05,
        indicator="GCaMP6f",
        response=2.0,
        active=0.7,
        rate_hz=0.08,
        drift_um=1.0,
        jitter_um=0.4,
        burst_um=4.0,
    ),
)
MATCHED["calscipy"] = (
    squared("calscipy_2p_raw/frames_0002_0026_sqrt8.tif"),  # MIT
    simulate_two_photon,
    (25, 512, 512),
    1,
    TwoPhotonStyle(
        pixel_um=1.2,
        soma_um=11.0,
        frame_rate_hz=30.0,
        rayleigh_um=3.0,
        density=100e3,
        labelled=0.1,
        dim_level=0.95,
        cell_level=2.5,
        cell_spread=0.6,
        texture=0.35,
        fibres=0.5,
        fibre_angle=0.9,
        filaments=0.2,
        axons=150.0,
        passing=80.0,
        apicals=60.0,
        capillaries=20.0,
        surface_vessels=1,
        unevenness=0.5,
        vignette=0.2,
        haze=0.3,
        neuropil_photons=0.3,
        gain=1900.0,
        pulse_spread=0.7,
        offset=100.0,
        read_noise=60.0,
        bandwidth_px=0.7,
        neuropil_activity=0.03,
    ),
)
MATCHED["kenyon"] = (
    squared("kenyon_2p/cycle1_sqrt8.tif"),
    simulate_two_photon,
    (53, 260, 348),
    1,
    TwoPhotonStyle(
        pixel_um=0.44,
        soma_um=5.2,
        soma_spread=0.08,
        frame_rate_hz=2.9,
        psf_um=0.22,
        rayleigh_um=0.8,
        packed=True,
        density=0.98,
        patchiness=0.0,
        tissue_share=0.5,
        labelled=0.98,
        cell_level=1.3,
        cell_spread=0.25,
        nucleus_level=0.35,
        nucleus_ratio=0.78,
        roundness=0.7,
        apex_share=0.05,
        filled_share=0.02,
        neuropil_photons=4.0,
        gain=85.0,
        texture=0.2,
        fibres=0.1,
        filaments=0.1,
        axons=200.0,
        passing=300.0,
        apicals=0.0,
        dendrite_share=0.05,
        dendrite_um=10.0,
        capillaries=0.0,
        surface_vessels=0,
        haze=0.02,
        vignette=0.3,
        response=1.2,
        active=0.15,
        rate_hz=0.1,
        drift_um=0.2,
        jitter_um=0.1,
        burst_um=0.2,
        deformation_um=0.1,
    ),
)
MATCHED["nf0000"] = (
    squared("nf0000_movie/movie_avg4_sqrt8.tif"),
    simulate_two_photon,
    (600, 512, 512),
    4,
    TwoPhotonStyle(
        pixel_um=1.15,
        soma_um=11.0,
        frame_rate_hz=7.0,
        psf_um=0.4,
        rayleigh_um=2.0,
        density=220e3,
        patchiness=0.2,
        labelled=0.65,
        dim_level=0.75,
        cell_level=1.0,
        cell_spread=0.5,
        filled_share=0.05,
        nucleus_level=0.3,
        nucleus_ratio=0.7,
        texture=0.2,
        fibres=0.1,
        filaments=0.3,
        axons=4000.0,
        axon_level=2.0,
        apicals=60.0,
        passing=150.0,
        dendrite_share=0.15,
        capillaries=90.0,
        surface_vessels=2,
        vignette=0.6,
        vignette_radius=0.9,
        unevenness=0.3,
        haze=0.15,
        neuropil_photons=2.5,
        gain=100.0,
        pulse_spread=0.4,
        neuropil_activity=0.02,
        response=1.5,
        active=0.4,
        rate_hz=0.03,
        drift_um=0.2,
        jitter_um=0.1,
        burst_um=0.3,
        deformation_um=0.1,
        dropped_lines=1.0,
    ),
)
MATCHED["hippocampus"] = (
    None,
    simulate_two_photon,
    (300, 256, 256),
    1,
    TwoPhotonStyle(
        pixel_um=0.62,
        soma_um=10.5,
        frame_rate_hz=7.0,
        rayleigh_um=1.8,
        packed=True,
        density=0.85,
        patchiness=0.1,
        labelled=0.9,
        cell_level=1.0,
        cell_spread=0.4,
        nucleus_level=0.1,
        nucleus_ratio=0.72,
        roundness=0.5,
        filled_share=0.03,
        texture=0.4,
        fibres=0.2,
        axons=20.0,
        apicals=20.0,
        passing=20.0,
        capillaries=10.0,
        surface_vessels=0,
        vignette=0.1,
        haze=0.05,
        drift_um=0.2,
        jitter_um=0.1,
        burst_um=0.3,
        deformation_um=0.1,
    ),
)
MATCHED["lin"] = (
    pictures_in_zip("lin_1p/DG13_8-3-17_frames_jpg.zip"),  # MIT
    simulate_one_photon,
    (500, 194, 195),
    1,
    OnePhotonStyle(
        look="df",
        pixel_um=1.3,
        cell_um=15.0,
        frame_rate_hz=5.0,
        density=3000,
        texture=0.2,
        patchiness=0.5,
        depth_um=60.0,
        defocus=0.08,
        cell_level=0.12,
        level_spread=0.5,
        indicator="GCaMP6s",
        response=2.5,
        rate_hz=0.03,
        synchrony=0.3,
        dendrite_share=0.3,
        background_photons=40.0,
        background_activity=0.08,
        fast_activity=0.05,
        vessels=1,
        pulsation=0.01,
        dust=4,
        residual=0.25,
        drift_um=1.5,
        jitter_um=1.5,
        bits=12,
        gain=30.0,
        smoothing_px=2.6,
        smoothing_aspect=1.8,
    ),
)
MATCHED["minian"] = (
    plain("minian_1p/movie_bgremoved_bin2sum.tif"),
    simulate_one_photon,
    (320, 240, 376),
    1,
    OnePhotonStyle(
        look="background_removed",
        pixel_um=2.0,
        cell_um=14.0,
        frame_rate_hz=20.0,
        density=2500,
        patchiness=1.0,
        depth_um=90.0,
        defocus=0.15,
        cell_level=0.15,
        level_spread=0.5,
        indicator="GCaMP6s",
        response=2.0,
        rate_hz=0.05,
        background_photons=9000.0,
        background_activity=0.01,
        vessels=1,
        vessel_um=15.0,
        vessel_density=0.2,
        pulsation=0.005,
        dust=0,
        residual=0.05,
        drift_um=0.3,
        jitter_um=0.3,
        burst_um=0.3,
        vignette=0.9,
        vignette_radius=0.7,
        bits=12,
        gain=0.13,
    ),
)
MATCHED["inscopix"] = (
    lambda data: plain("small/inscopix_1p_63x123x108.tif")(data) / 8,
    simulate_one_photon,
    (63, 123, 108),
    1,
    OnePhotonStyle(
        look="raw",
        pixel_um=2.6,
        cell_um=15.0,
        frame_rate_hz=5.0,
        density=150,
        depth_um=60.0,
        cell_level=0.08,
        response=2.0,
        background_photons=22_000.0,
        background_activity=0.012,
        fast_activity=0.003,
        texture=0.04,
        vessels=4,
        vessel_um=30.0,
        vessel_density=0.35,
        pulsation=0.005,
        dust=0,
        spots=5.0,
        drift_um=0.3,
        jitter_um=0.3,
        burst_um=0.5,
        vignette=0.2,
        bits=12,
        gain=0.042,
        offset=50.0,
    ),
)


def simulated(name, seed=0):
    """Return the simulated movie of a name."""
    _, simulate, shape, size, style = MATCHED[name]
    recording = simulate(seed, shape, style=style)
    recording = recording.binned(size) if size > 1 else recording
    return Frames(recording.frames().astype(np.float32))


def images(movie):
    """Return the pictures of a movie, and the mean and the variance of the noise of its pixels."""
    summary = summary_images(movie, skip_flashes=False)
    frames = movie.frames()[:200].astype(np.float32)
    noise = np.diff(frames, axis=0).var(axis=0) / 2
    middle = frames[len(frames) // 2]
    return [summary.mean, summary.standard_deviation, summary.correlation, middle], noise


def facts(movie):
    """Return numbers that a simulated movie should share with the real one."""
    (mean, deviation, correlation, _), noise = images(movie)
    inside = mean > np.percentile(mean, 30)
    slope = np.median(noise[inside] / np.maximum(mean[inside], 1e-6))
    bands = [
        np.std(ndimage.gaussian_filter(mean, s) - ndimage.gaussian_filter(mean, 2 * s)) / mean.mean()
        for s in (1, 4, 16)
    ]
    return {
        "mean": mean.mean(),
        "noise/mean": slope,
        "contrast 1-2 px": bands[0],
        "4-8 px": bands[1],
        "16-32 px": bands[2],
        "deviation 99/50 %": np.percentile(deviation, 99) / np.median(deviation),
        "correlation 50 %": np.median(correlation),
        "99 %": np.percentile(correlation, 99),
    }


def draw(path, rows, width=1.7):
    """Draw one row of pictures for each (title, movie)."""
    figure, axes = pyplot.subplots(len(rows), 5, figsize=(5 * width, len(rows) * width), squeeze=False)
    for line, (title, movie) in zip(axes, rows, strict=True):
        pictures, noise = images(movie)
        for axis, picture, part in zip(line, pictures, PARTS, strict=False):
            low, high = np.percentile(picture, (1, 99.7))
            axis.imshow(picture, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
            axis.set_xticks([])
            axis.set_yticks([])
            axis.set_title(part, fontsize=6)
        line[0].set_ylabel(title, fontsize=6)
        keep = slice(None, None, max(noise.size // 4000, 1))
        line[4].plot(pictures[0].ravel()[keep], noise.ravel()[keep], ".", markersize=0.8)
        line[4].set_xlim(np.percentile(pictures[0], (0.1, 99.8)))
        line[4].set_ylim(0, np.percentile(noise, 99.8))
        line[4].tick_params(labelsize=4)
        line[4].set_title(PARTS[4], fontsize=6)
    save(figure, path)


def save(figure, path):
    """Write a picture in few colours: noise makes large files."""
    figure.tight_layout(pad=0.3)
    figure.canvas.draw()
    picture = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3].copy())
    picture.quantize(128, method=Image.Quantize.FASTOCTREE).save(path, optimize=True)
    pyplot.close(figure)


def pictures(arguments):
    """Draw and compare."""
    rows = []
    for name in arguments.only or MATCHED:
        read = MATCHED[name][0]
        if arguments.data is not None and read is not None:
            rows.append((f"real: {name}", Frames(read(arguments.data))))
        rows.append((f"simulated like {name}", simulated(name, arguments.seed)))
    draw(arguments.output, rows)
    for title, movie in rows:
        print(f"{title:28}", "  ".join(f"{key} {value:.3g}" for key, value in facts(movie).items()))


def gallery(arguments):
    """Draw one recording of each kind with the outlines of its visible cells, simulated only."""
    kinds = [(simulate_two_photon, kind) for kind in KINDS] + [(simulate_one_photon, look) for look in LOOKS]
    figure, axes = pyplot.subplots(len(kinds), 4, figsize=(6.4, 1.65 * len(kinds)))
    for number, (line, (simulate, kind)) in enumerate(zip(axes, kinds, strict=True)):
        recording = simulate((5, arguments.seed, number), (400, 160, 160), style=kind)
        shown, _ = images(Frames(recording.frames()))
        for axis, picture in zip(line, shown, strict=True):
            low, high = np.percentile(picture, (1, 99.7))
            axis.imshow(picture, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
            axis.set_axis_off()
        cells = recording.cells
        for mask, seen, active in zip(cells.masks, cells.visible & cells.in_focus, cells.active, strict=True):
            if seen:
                for polygon in outline_polygons([mask])[0]:
                    y, x = np.vstack([polygon, polygon[:1]]).T
                    line[2].plot(x, y, color="orange" if active else "deepskyblue", linewidth=0.5)
        for axis, part in zip(line, PARTS, strict=False):
            axis.set_title(f"{kind}: {part}", fontsize=5, pad=2)
    save(figure, arguments.output)


def speed(arguments):
    """Print the seconds of processor time that 500 frames of 256 x 256 take."""
    for name, simulate in (("two-photon", simulate_two_photon), ("one-photon", simulate_one_photon)):
        built, drawn, binned = [], [], []
        for seed in range(arguments.rounds):
            clock = [time.process_time()]
            recording = simulate((77, seed), (500, 256, 256))
            clock.append(time.process_time())
            recording.frames()
            clock.append(time.process_time())
            recording.binned(5).frames()
            clock.append(time.process_time())
            for values, seconds in zip((built, drawn, binned), np.diff(clock), strict=True):
                values.append(seconds)
        scene, frames, means = (statistics.median(values) for values in (built, drawn, binned))
        print(f"{name}: scene {scene:.2f} s, 500 frames {frames:.2f} s, or 100 means of 5 {means:.2f} s")


def main():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    tasks = parser.add_subparsers(required=True)
    task = tasks.add_parser("pictures")
    task.add_argument("output", type=Path)
    task.add_argument("--data", type=Path)
    task.add_argument("--only", nargs="+", choices=MATCHED)
    task.add_argument("--seed", type=int, default=0)
    task.set_defaults(run=pictures)
    task = tasks.add_parser("gallery")
    task.add_argument("output", type=Path)
    task.add_argument("--seed", type=int, default=0)
    task.set_defaults(run=gallery)
    task = tasks.add_parser("speed")
    task.add_argument("--rounds", type=int, default=7)
    task.set_defaults(run=speed)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
