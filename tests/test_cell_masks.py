"""From soft masks to cells, against whole frames in which every pixel is looked at."""

import numpy as np
import pytest
from scipy import ndimage

from calzoo.imaging.pieces import one_piece
from calzoo.inference.cell_masks import binarised, pasted, suppressed, with_prior

SIDE = 12


def in_frame(masks, corners, shape=(80, 80), origin=(20, 20)):
    """Return each mask in a frame that holds all of them, (N, *shape)."""
    frames = np.zeros((len(masks), *shape), masks.dtype)
    for frame, mask, (y, x) in zip(frames, masks, corners + origin, strict=True):
        frame[y : y + SIDE, x : x + SIDE] = mask
    return frames


@pytest.mark.parametrize("overlap", [0.1, 0.3, 1.0])
def test_cells_are_kept_as_pixels_tell(rng, overlap):
    masks = np.zeros((120, SIDE, SIDE), bool)
    for mask in masks:
        top, left = rng.integers(0, 9, 2)
        mask[top : top + rng.integers(0, 9), left : left + rng.integers(1, 9)] = True
    corners, scores = rng.integers(-15, 40, (120, 2)), rng.random(120)
    frames, kept = in_frame(masks, corners), []
    for index in np.argsort(-scores):
        area, common = frames[index].sum(), [(frames[index] & frames[k]).sum() for k in kept]
        twice = any(
            c > overlap * (area + frames[k].sum() - c) or c > 0.75 * min(area, frames[k].sum())
            for c, k in zip(common, kept, strict=True)
        )
        if area and not twice:
            kept.append(index)
    assert 0 < len(kept) < 100
    assert suppressed(masks, corners, scores, overlap=overlap).tolist() == kept


def test_two_halves_are_one_cell_only_if_they_share_more_than_is_said():
    masks = np.zeros((2, SIDE, SIDE), bool)
    masks[0, :, :8], masks[1, :, 4:] = True, True  # a third of both together, half of each
    corners, scores = np.zeros((2, 2), int), np.array([0.9, 0.8])
    assert len(suppressed(masks, corners, scores, overlap=1 / 3)) == 2
    assert len(suppressed(masks, corners, scores, overlap=0.33)) == 1
    assert len(suppressed(masks, corners, scores, overlap=1, contained=0.5)) == 2
    assert len(suppressed(masks, corners, scores, overlap=1, contained=0.49)) == 1


@pytest.mark.parametrize(
    ("shape", "network_shape"), [((50, 60), (50, 60)), ((80, 60), (50, 45)), ((30, 41), (50, 60))]
)
def test_masks_are_pasted_where_pixels_of_the_recording_lie(rng, shape, network_shape):
    soft = ndimage.gaussian_filter(rng.random((30, SIDE, SIDE)), (0, 2, 2))
    masks = ((soft - soft.min()) / np.ptp(soft)).astype(np.float32)
    corners = rng.integers(-6, 45, (30, 2))
    found = pasted(masks, corners, 0.45, shape, network_shape).stack()
    rows, columns = ((np.arange(n) + 0.5) * m / n - 0.5 for n, m in zip(shape, network_shape, strict=True))
    for mask, corner, cell in zip(masks, corners, found, strict=True):
        places = np.meshgrid(rows - corner[0] + 1, columns - corner[1] + 1, indexing="ij")
        solid = ndimage.map_coordinates(np.pad(mask, 1), places, order=1) >= 0.45
        middle = [np.abs(p - c - SIDE // 2).argmin() for p, c in zip((rows, columns), corner, strict=True)]
        np.testing.assert_array_equal(cell, one_piece(solid, np.array(middle)))
    assert found.any(axis=(1, 2)).sum() > 10


def test_a_value_at_the_threshold_belongs_to_the_cell():
    mask = np.full((1, SIDE, SIDE), 0.5, np.float32)
    assert binarised(mask, 0.5).all()
    assert pasted(mask, np.zeros((1, 2), int), 0.5, (SIDE, SIDE), (SIDE, SIDE)).areas[0] == SIDE**2


def test_the_prior_is_of_sure_cells_where_there_are_any():
    masks = np.zeros((3, SIDE, SIDE), np.float32)
    masks[:, 4:9, 4:9] = 0.8
    masks[1, :3], masks[2, 9:] = 0.8, 0.8
    masks[1, 6, 3] = 0.8  # beside the square, on it where that is enlarged by a half
    by_first = with_prior(masks, np.array([0.5, 0.4, 0.3]))
    assert by_first[1, 6, 3] == pytest.approx(0.8)
    np.testing.assert_array_equal(by_first, with_prior(masks, np.array([0.9, 0.1, 0.1])))
    assert by_first[1, :2].max() == by_first[2, 11:].max() == 0
    assert by_first.max() == pytest.approx(0.8)
    by_all = with_prior(masks, np.full(3, 0.4))
    assert by_all[1, :2].max() > 0
    assert by_all[2, 11:].max() > 0
