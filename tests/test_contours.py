"""Outlines as polygons and pixels, films, and the command that makes them."""

import numpy as np
import pytest
from scipy import ndimage

from calzoo import cli
from calzoo.errors import CalzooError
from calzoo.imaging.contours import (
    Outlines,
    contour_picture,
    display_range,
    outline_polygons,
    palette,
    polygon_area,
    screen_zoom,
    to_grey,
)
from calzoo.imaging.films import film_frames
from calzoo.imaging.frames import cut
from calzoo.imaging.masks import Masks, write_masks
from calzoo.imaging.movies import open_movie
from calzoo.imaging.writers import write_movie


def one(picture):
    return Masks.from_stack(np.array(picture, bool)[None])


def test_a_rectangle_has_four_corners():
    mask = np.zeros((9, 9), bool)
    mask[2:5, 3:8] = True
    ((polygon,),) = outline_polygons(one(mask))
    assert sorted(map(tuple, polygon.tolist())) == [(1.5, 2.5), (1.5, 7.5), (4.5, 2.5), (4.5, 7.5)]
    assert polygon_area(polygon) == 15


def test_outlines_run_clockwise_and_holes_the_other_way():
    mask = np.ones((5, 6), bool)
    mask[2, 2:4] = False
    ((outer, hole),) = outline_polygons(one(mask))
    assert polygon_area(outer) == 30
    assert polygon_area(hole) == -2


@pytest.mark.parametrize("picture", [[[1, 0], [0, 1]], [[0, 1], [1, 0]]])
def test_pixels_that_touch_at_a_corner_have_separate_outlines(picture):
    (polygons,) = outline_polygons(one(picture))
    assert [polygon_area(polygon) for polygon in polygons] == [1, 1]


def test_a_gap_that_opens_at_a_corner_is_no_hole():
    picture = [[1, 1, 1, 1], [1, 1, 0, 1], [0, 0, 1, 1]]
    ((outer,),) = outline_polygons(one(picture))
    assert polygon_area(outer) == 9


def test_the_areas_of_any_mask_add_up(rng):
    stack = ndimage.gaussian_filter(rng.normal(size=(20, 15, 17)), (0, 1, 1)) > 0
    stack[0] = rng.random((15, 17)) < 0.5
    stack[1] = np.indices((15, 17)).sum(axis=0) % 2
    masks = Masks.from_stack(stack)
    for polygons, picture in zip(outline_polygons(masks), stack, strict=True):
        assert sum(map(polygon_area, polygons)) == picture.sum()
        for polygon in polygons:
            steps = polygon - np.roll(polygon, 1, axis=0)
            assert (np.count_nonzero(steps, axis=1) == 1).all()  # along the sides of pixels
            turns = steps * np.roll(steps, -1, axis=0)
            assert (turns.sum(axis=1) == 0).all()  # a corner at every point
        # As many outer outlines as parts that hang together by sides.
        assert sum(polygon_area(p) > 0 for p in polygons) == ndimage.label(picture)[1]


def test_a_mask_without_pixels_has_no_outline():
    assert outline_polygons(Masks((4, 4), [0, 0], [], [])) == [[]]
    Outlines(Masks((4, 4), [0, 0], [], [])).draw(np.zeros((4, 4, 3), np.uint8))


@pytest.mark.parametrize("zoom", [1, 3])
def test_outlines_are_the_outermost_pixels_of_masks(zoom):
    stack = np.zeros((2, 10, 12), bool)
    stack[0, 0:6, 0:7] = True
    stack[1, 4:9, 5:11] = True
    picture = np.zeros((10 * zoom, 12 * zoom, 3), np.uint8)
    Outlines(Masks.from_stack(stack), zoom).draw(picture)
    large = [mask.repeat(zoom, 0).repeat(zoom, 1) for mask in stack]
    edges = [mask & ~ndimage.binary_erosion(mask) for mask in large]
    np.testing.assert_array_equal(picture.any(axis=2), edges[0] | edges[1])
    colours = palette(2)
    assert (picture[edges[1]] == colours[1]).all()  # the later one on top
    assert (picture[edges[0] & ~edges[1]] == colours[0]).all()


def test_neighbouring_colours_differ():
    colours = palette(50).astype(int)
    assert colours.dtype == int
    assert colours.shape == (50, 3)
    assert np.abs(np.diff(colours, axis=0)).max(axis=1).min() > 100
    assert palette(0).shape == (0, 3)


def test_grey_levels_span_the_range(rng):
    frames = rng.normal(1000, 50, size=(5, 40, 40))
    low, high = display_range(frames)
    grey = to_grey(frames, low, high)
    assert grey.dtype == np.uint8
    assert (grey == 0).mean() < 0.03
    assert (grey == 255).mean() < 0.01
    assert grey.std() > 30
    assert (to_grey(np.full((4, 4), 7), *display_range(np.full((4, 4), 7))) == 0).all()


def test_small_frames_are_enlarged():
    assert [screen_zoom(shape) for shape in [(512, 512), (64, 64), (10, 240), (4000, 3)]] == [1, 8, 2, 1]


def test_a_contour_picture_is_grey_but_for_the_outlines(rng):
    mask = np.zeros((20, 30), bool)
    mask[5:12, 8:15] = True
    picture = contour_picture(rng.random((20, 30)), one(mask), zoom=2)
    assert picture.shape == (40, 60, 3)
    coloured = np.ptp(picture, axis=2) > 0
    large = mask.repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(coloured, large & ~ndimage.binary_erosion(large))


def test_an_image_of_another_size_is_refused():
    with pytest.raises(CalzooError, match=r"\(20, 30\) pixels as the masks are, got \(30, 20\)"):
        contour_picture(np.zeros((30, 20)), one(np.ones((20, 30))))


def test_a_film_shows_every_frame(rng):
    movie = rng.integers(0, 1000, size=(150, 16, 24)).astype(np.uint16)
    frames = list(film_frames(movie, zoom=1))
    assert len(frames) == 150
    low, high = display_range(movie[np.unique(np.linspace(0, 149, 25).round().astype(int))])
    np.testing.assert_array_equal(frames[140], to_grey(movie[140], low, high))
    with_masks = next(film_frames(movie, one(np.ones((16, 24))), zoom=2))
    assert with_masks.shape == (32, 48, 3)
    assert np.ptp(with_masks[0, 0]) > 0
    assert np.ptp(with_masks[5, 5]) == 0


def test_a_film_refuses_masks_of_another_size():
    with pytest.raises(CalzooError, match=r"frames of \(4, 5\) pixels, the movie has \(5, 4\)"):
        next(film_frames(np.zeros((3, 5, 4)), one(np.ones((4, 5)))))


def test_a_movie_is_cut(rng):
    movie = rng.random((20, 3, 4))
    part = cut(cut(movie, slice(5, None)), slice(2, -3))
    assert part.shape == (10, 3, 4)
    np.testing.assert_array_equal(part.frames(3, 99), movie[10:17])
    with pytest.raises(CalzooError, match="frames 20 to 30 are none of the 20"):
        cut(movie, slice(20, 30))


@pytest.fixture
def recording(tmp_path, rng):
    """Write a movie of 30 frames with its masks, return their paths."""
    movie = rng.poisson(50, size=(30, 24, 32)).astype(np.uint16)
    masks = np.zeros((2, 24, 32), bool)
    masks[0, 4:10, 4:10] = masks[1, 12:20, 15:25] = True
    write_movie(tmp_path / "movie.tif", movie, frame_rate_hz=15.0)
    write_masks(tmp_path / "masks.npz", cells=Masks.from_stack(masks))
    return tmp_path / "movie.tif", tmp_path / "masks.npz"


@pytest.mark.parametrize("ending", ["avi", "gif"])
def test_play_writes_a_film(recording, tmp_path, capsys, ending):
    movie, masks = recording
    out = tmp_path / f"film.{ending}"
    arguments = ["--masks", str(masks), "--frames", "4:24", "--average", "2", "--speed", "4", "--zoom", "2"]
    assert cli.main(["play", str(movie), "-o", str(out), *arguments]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    content = out.read_bytes()
    assert content[:4] in (b"RIFF", b"GIF8")
    if ending == "gif":
        from PIL import Image

        with Image.open(out) as film:
            assert film.n_frames == 10
            assert film.size == (64, 48)
            assert film.info["duration"] == 30  # 15 Hz / 2 frames * 4 = 30 Hz, in hundredths of a second


def test_play_writes_a_picture(recording, tmp_path):
    from PIL import Image

    movie, masks = recording
    out = tmp_path / "contours.png"
    assert cli.main(["play", str(movie), "-o", str(out), "--masks", str(masks), "--zoom", "1"]) == 0
    with Image.open(out) as picture:
        pixels = np.asarray(picture)
    assert pixels.shape == (24, 32 + 8 + 32, 3)
    assert np.ptp(pixels[4, 4]) > 0
    assert np.ptp(pixels[4, 44]) > 0


def test_play_takes_a_label_image(recording, tmp_path):
    import tifffile

    labels = np.zeros((24, 32), np.int32)
    labels[3:9, 3:9] = 7
    tifffile.imwrite(tmp_path / "labels.tif", labels)
    out = tmp_path / "labels.png"
    arguments = [str(recording[0]), "-o", str(out), "--masks", str(tmp_path / "labels.tif")]
    assert cli.main(["play", *arguments]) == 0
    assert out.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "film.mp4"], "film.mp4: expected a name that ends in .avi, .gif or .png."),
        (["-o", "film.avi", "--frames", "40:50"], "frames 40 to 50 are none of the 30"),
        (["-o", "film.avi", "--masks", "gone.npz"], "gone.npz: there is no such file"),
        (["-o", "film.avi", "--masks", "movie.tif"], "movie.tif: expected a label image (Y, X)"),
        (["-o", "film.avi", "--average", "99"], "a bin holds 1 to 30 frames"),
    ],
)
def test_play_says_what_is_wrong(recording, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["play", "movie.tif", *arguments]) == 1
    complaint = capsys.readouterr().err
    assert message in complaint
    assert "Traceback" not in complaint
    assert not list(tmp_path.glob("film*"))


def test_play_wants_frames_as_a_range(recording, capsys):
    assert cli.main(["play", str(recording[0]), "-o", "film.avi", "--frames", "7"]) == 2
    assert "expected two frame numbers A:B" in capsys.readouterr().err


@pytest.mark.data
def test_a_real_movie_is_filmed_with_its_masks(shared_data, tmp_path):
    from calzoo.imaging.masks import read_masks

    with open_movie(shared_data / "nf0000_movie" / "movie_avg4_sqrt8.tif") as movie:
        masks = read_masks(shared_data / "nf0000_movie" / "masks.npz")
        frames = film_frames(cut(movie, slice(0, 3)), masks)
        assert [frame.shape for frame in frames] == [(512, 512, 3)] * 3
