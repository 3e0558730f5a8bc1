"""Outlines of masks: as polygons, and drawn over pictures and films."""

import colorsys

import numpy as np

from calzoo.errors import CalzooError
from calzoo.imaging.masks import Masks

LOWEST, HIGHEST = 1.0, 99.8  # percentiles that become black and white
SMALLEST_SIDE = 480


def outline_polygons(masks):
    """Follow the outlines of masks along the sides of their pixels.

    Parameters
    ----------
    masks : Masks

    Returns
    -------
    list of list of ndarray of float64, shape (K, 2)
        For each mask its closed polygons, the largest first: corners (y, x) in pixels, where pixel (0, 0)
        reaches from -0.5 to 0.5. The last corner leads back to the first. Outer outlines run
        clockwise as seen on the screen, holes the other way; pixels that touch at a
        corner only have separate outlines.
    """
    return [_loops(rows, columns) for rows, columns in masks]


def _loops(rows, columns):
    """Follow the outlines of one mask."""
    if len(rows) == 0:
        return []
    top, left = rows.min() - 1, columns.min() - 1
    inside = np.zeros((rows.max() - top + 2, columns.max() - left + 2), bool)
    inside[rows - top, columns - left] = True
    following = _sides(inside)
    loops = []
    while following:
        start = corner = next(iter(following))
        heading, loop = None, []
        while True:
            headings = following[corner]
            # Where outlines meet at a corner, to turn right is to stay with the same pixel.
            turn = _right_turn(heading) if len(headings) == 2 and heading else headings[0]
            headings.remove(turn)
            if not headings:
                del following[corner]
            if turn != heading:
                loop.append(corner)
            heading = turn
            corner = (corner[0] + turn[0], corner[1] + turn[1])
            if corner == start and _right_turn(heading) not in following.get(corner, ()):
                break
        if len(loop) > 1 and _is_straight(loop[-1], loop[0], loop[1]):
            loop = loop[1:]
        loops.append(np.array(loop, np.float64) + [top - 0.5, left - 0.5])
    return sorted(loops, key=lambda loop: -abs(polygon_area(loop)))


def _sides(inside):
    """Return where the outline goes from each corner: a dict of corner to list of (dy, dx)."""
    neighbours = {
        # Which neighbour is missing: at which corner of the pixel the side begins, and its heading.
        (-1, 0): ((0, 0), (0, 1)),
        (0, 1): ((0, 1), (1, 0)),
        (1, 0): ((1, 1), (0, -1)),
        (0, -1): ((1, 0), (-1, 0)),
    }
    following = {}
    for (dy, dx), ((y, x), heading) in neighbours.items():
        open_side = inside & ~np.roll(inside, (-dy, -dx), axis=(0, 1))
        for row, column in np.argwhere(open_side).tolist():
            following.setdefault((row + y, column + x), []).append(heading)
    return following


def _right_turn(heading):
    return heading[1], -heading[0]


def _is_straight(before, corner, after):
    """Tell whether a corner lies on a straight line, which here runs along rows or columns."""
    return before[0] == corner[0] == after[0] or before[1] == corner[1] == after[1]


def polygon_area(polygon):
    """Return the area of a polygon (K, 2) of (y, x) corners, positive if it runs clockwise on the screen."""
    y, x = np.transpose(polygon)
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


class Outlines:
    """The outlines of masks as pixels of pictures that are enlarged by a whole number.

    Parameters
    ----------
    masks : Masks
    zoom : int
        How many pixels wide one pixel of the masks is drawn.
    colours : ndarray of uint8, (N, 3), optional
        Of each mask; left out: `palette`.
    """

    def __init__(self, masks, zoom=1, colours=None):
        self.shape = tuple(side * zoom for side in masks.shape)
        found = [_outermost(rows, columns, zoom) for rows, columns in masks]
        self._pixels = Masks.from_pixels(self.shape, found)
        colours = palette(len(masks)) if colours is None else colours
        self._colours = np.repeat(colours, self._pixels.areas, axis=0)

    def draw(self, picture):
        """Draw the outlines into a picture, uint8 (Y * zoom, X * zoom, 3), in place."""
        picture[self._pixels.row, self._pixels.col] = self._colours


def _outermost(rows, columns, zoom):
    """Return the pixels of an enlarged mask that lie along its edge."""
    top, left = rows.min(initial=0) - 1, columns.min(initial=0) - 1
    inside = np.zeros((rows.max(initial=0) - top + 2, columns.max(initial=0) - left + 2), bool)
    inside[rows - top, columns - left] = True
    inside = enlarge(inside, zoom)
    core = inside.copy()
    for shift in (-1, 1):
        core &= np.roll(inside, shift, axis=0) & np.roll(inside, shift, axis=1)
    edge = np.argwhere(inside & ~core) + [top * zoom, left * zoom]
    return edge[:, 0], edge[:, 1]


def palette(count):
    """Return colours that differ from one mask to the next, uint8 (count, 3).

    The hues jump by the golden section, so that no two neighbours in number look alike.
    """
    hues = (0.15 + 0.618034 * np.arange(count)) % 1
    colours = [colorsys.hsv_to_rgb(hue, 0.75, 1) for hue in hues]
    return (255 * np.array(colours).reshape(-1, 3)).astype(np.uint8)


def enlarge(picture, zoom):
    """Repeat the pixels of a picture (Y, X, ...) `zoom` times along both sides."""
    return picture.repeat(zoom, axis=0).repeat(zoom, axis=1)


def display_range(frames):
    """Return the levels that become black and white on a screen.

    Parameters
    ----------
    frames : ndarray
        A picture, or a few frames of a movie.

    Returns
    -------
    low, high : float
        The 1st and the 99.8th percentile, or `low` + 1 where they are equal.
    """
    low, high = np.percentile(frames, (LOWEST, HIGHEST))
    return float(low), float(high if high > low else low + 1)


def to_grey(frames, low, high):
    """Map `low` ... `high` to 0 ... 255, uint8."""
    scaled = (np.asarray(frames, np.float32) - np.float32(low)) * np.float32(255 / (high - low))
    return np.clip(scaled, 0, 255).astype(np.uint8)


def screen_zoom(shape):
    """Return by how much to enlarge frames (Y, X) so that they can be seen: to some 480 pixels at least."""
    return max(1, round(SMALLEST_SIDE / max(shape)))


def contour_picture(image, masks, *, zoom=None):
    """Draw the outlines of masks over an image.

    Parameters
    ----------
    image : ndarray of shape (Y, X)
        For example the mean of a movie.
    masks : Masks
    zoom : int, optional
        How many pixels wide each pixel is drawn; left out: enough to be seen.

    Returns
    -------
    ndarray of uint8, shape (Y * zoom, X * zoom, 3)

    Raises
    ------
    CalzooError
        If the image and the masks differ in size.
    """
    image = np.asarray(image)
    if image.shape != masks.shape:
        message = f"expected an image of {masks.shape} pixels as the masks are, got {image.shape}"
        raise CalzooError(message)
    zoom = zoom or screen_zoom(image.shape)
    picture = enlarge(to_grey(image, *display_range(image)), zoom)[..., None].repeat(3, axis=2)
    Outlines(masks, zoom).draw(picture)
    return picture
