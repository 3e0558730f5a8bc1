"""Pictures: what is drawn where."""

import numpy as np
import pytest
from PIL import Image

from calzoo.imaging.overlays import _AXON, _BORDER, _LINE, Projection, draw_axons


def view(rng, shape=(4, 60, 80), depth=2):
    """Return the projection of a stack with one axon, gathered slab by slab."""
    volume = rng.integers(100, 200, shape).astype(np.uint16)
    classes = np.zeros(shape, np.uint8)
    labels = np.zeros(shape, np.int32)
    classes[2, 10:20, 10:70], classes[2, 20:24, 10:70] = 1, 2
    labels[2, 10:20, 10:70] = 1
    projection = Projection(shape[1:])
    for start in range(0, shape[0], depth):
        part = slice(start, start + depth)
        projection.add_image(volume[part])
        projection.add_classes(classes[part])
        projection.add_labels(labels[part])
    return projection, volume, classes, labels


def drawn(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


@pytest.mark.parametrize("depth", [1, 3, 4])
def test_a_projection_by_slabs_is_that_of_the_whole(rng, depth):
    projection, volume, classes, labels = view(rng, depth=depth)
    np.testing.assert_array_equal(projection.brightest, volume.max(axis=0))
    np.testing.assert_array_equal(projection.classes, classes.max(axis=0))
    np.testing.assert_array_equal(projection.labels, labels.max(axis=0))


def test_axon_lies_before_border_and_the_largest_axon_in_front():
    projection = Projection((1, 3))
    projection.add_classes(np.uint8([[[0, 2, 2]], [[0, 1, 0]]]))
    projection.add_classes(np.uint8([[[0, 2, 1]]]))
    projection.add_labels(np.int32([[[0, 5, 7]], [[0, 2, 0]]]))
    projection.add_labels(np.int32([[[0, 9, 3]]]))
    assert projection.classes.tolist() == [[0, 1, 1]]
    assert projection.labels.tolist() == [[0, 2, 3]]


def test_outlines_and_classes_are_drawn_where_they_are(rng, tmp_path):
    projection, *_ = view(rng)
    draw_axons(tmp_path / "overlay.png", projection, title="a stack")
    picture = drawn(tmp_path / "overlay.png")
    zoom = 480 // 80
    panel = picture[_LINE : _LINE + 60 * zoom, : 80 * zoom]
    coloured = np.ptp(panel.astype(int), axis=-1) > 60
    rows = np.flatnonzero(coloured.any(axis=1))
    columns = np.flatnonzero(coloured.any(axis=0))
    assert (rows[0], rows[-1]) == (10 * zoom, 20 * zoom - 1)
    assert (columns[0], columns[-1]) == (10 * zoom, 70 * zoom - 1)
    assert not coloured[12 * zoom, 20 * zoom]  # an outline, not a filled shape
    classes = picture[_LINE : _LINE + 60 * zoom, -80 * zoom :].astype(int)
    for row, colour in ((15, _AXON), (22, _BORDER)):
        pixel = classes[row * zoom, 30 * zoom]
        assert np.abs(pixel - np.array(colour)).max() < 100
        assert pixel.argmax() == np.argmax(colour)
    assert np.ptp(classes[40 * zoom, 30 * zoom]) == 0  # background stays grey


def test_large_stacks_are_reduced_and_no_axon_is_lost(rng, tmp_path):
    projection = Projection((1000, 4000))
    projection.add_image(rng.integers(0, 9, (1, 1000, 4000)))
    projection.labels[500, 2000] = 1  # one pixel
    projection.classes[500, 2000] = 1
    draw_axons(tmp_path / "overlay.png", projection, title="")
    picture = drawn(tmp_path / "overlay.png")
    assert picture.shape[1] == 4000 // 3 + 1
    assert picture.shape[0] > 2 * 1000 // 3  # wide panels lie one below the other
    assert (np.ptp(picture[_LINE:-_LINE].astype(int), axis=-1) > 60).any()


def test_a_scale_bar_is_as_long_as_it_says(tmp_path):
    projection = Projection((480, 500))
    projection.add_image(np.ones((1, 480, 500), np.uint8))  # no contrast: black
    for pixel_um, length_px in ((0.5, 100), (3.0, 67)):  # 50 um, 200 um
        draw_axons(tmp_path / "bar.png", projection, title="", pixel_um=pixel_um)
        panel = drawn(tmp_path / "bar.png")[_LINE : _LINE + 480, :500]
        assert (panel[480 - 14] == 255).all(axis=-1).sum() == pytest.approx(length_px, abs=1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, bool])
def test_pictures_without_contrast_or_axons_are_drawn_too(tmp_path, dtype):
    projection = Projection((5, 7))
    projection.add_image(np.ones((2, 5, 7), dtype))
    draw_axons(tmp_path / "overlay.png", projection, title="nothing", pixel_um=1000.0)
    assert drawn(tmp_path / "overlay.png").shape[2] == 3
