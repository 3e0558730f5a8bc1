"""Moving the pixels of an image along a displacement field.

One convention everywhere: a flow holds (dy, dx) in pixels on its last axis, and

    warped(y, x) = image(y + dy(y, x), x + dx(y, x)),

so a flow tells each pixel of the result where to look. Registration, `registered = warp(movie, flow)`,
follows the same rule.
"""

import numpy as np
from scipy import ndimage

from calzoo.errors import CalzooError

BLOCK_PIXELS = 32768
MODES = ("nearest", "reflect", "constant")


def warp(image, flow, *, order=1, mode="nearest", fill=0.0):
    """Look up every pixel of an image, or of every frame of a movie, where the flow points.

    Parameters
    ----------
    image : ndarray of shape (Y, X) or (T, Y, X)
        Any real data type.
    flow : ndarray of shape (Y, X, 2) or (T, Y, X, 2)
        (dy, dx) in pixels. One field serves all frames, or each frame has its own.
    order : {1, 3}, optional
        1 is bilinear, 3 a cubic spline: sharper, but it rings beside bright pixels.
    mode : {'nearest', 'reflect', 'constant'}, optional
        What a pixel sees that looks outside the image: its edge, its mirror image (the edge pixel
        twice, as in SciPy), or `fill`.
    fill : float, optional
        The value for ``mode="constant"``, for example NaN.

    Returns
    -------
    ndarray of float32
        In the shape of `image`. Where the flow is a whole number, the values are those of the image.

    Raises
    ------
    CalzooError
        If the shapes do not fit together, or the flow is not finite.
    ValueError
        If `order` or `mode` is none of the above.

    Examples
    --------
    >>> import numpy as np
    >>> warp(np.float32([[1, 2, 3]]), np.full((1, 3, 2), [0, 0.5]))
    array([[1.5, 2.5, 3. ]], dtype=float32)
    """
    if order not in (1, 3) or mode not in MODES:
        message = f"warp: order is 1 or 3, mode one of {', '.join(MODES)}, got order={order!r}, mode={mode!r}"
        raise ValueError(message)
    image, flow = np.asarray(image), np.asarray(flow, np.float32)
    fits = flow.shape[-3:] == (*image.shape[-2:], 2) and flow.ndim <= image.ndim + 1 and image.ndim in (2, 3)
    if not fits or (flow.ndim == 4 and len(flow) != len(image)):
        message = (
            "warp: an image (Y, X) or movie (T, Y, X) goes with a flow (Y, X, 2) or (T, Y, X, 2), "
            f"got {image.shape} and {flow.shape}"
        )
        raise CalzooError(message)
    if not np.isfinite(flow.sum(dtype=np.float64)):
        message = "warp: the flow holds NaN or infinity. Replace such vectors, for example by zero"
        raise CalzooError(message)
    if image.ndim == 2:
        return _warp_frame(image, flow, order, mode, fill)
    flows = flow if flow.ndim == 4 else np.broadcast_to(flow, (len(image), *flow.shape))
    warped = np.empty(image.shape, np.float32)
    for index, (frame, field) in enumerate(zip(image, flows, strict=True)):
        warped[index] = _warp_frame(frame, field, order, mode, fill)
    return warped


def looks_inside(flow):
    """Tell which pixels look inside the image, edge included.

    Parameters
    ----------
    flow : ndarray of shape (..., Y, X, 2)
        (dy, dx) in pixels.

    Returns
    -------
    ndarray of bool, shape (..., Y, X)
    """
    inside = np.ones(flow.shape[:-1], bool)
    for axis in (-2, -1):
        side = inside.shape[axis]
        moved, seen = np.moveaxis(flow[..., axis], axis, -1), np.moveaxis(inside, axis, -1)
        places = np.arange(side, dtype=np.float32)
        # No pixel farther from an edge than the longest motion can look beyond it.
        first = int(np.clip(np.ceil(-moved.min(initial=0)), 0, side))
        last = side - int(np.clip(np.ceil(moved.max(initial=0)), 0, side))
        seen[..., :first] &= places[:first] + moved[..., :first] >= 0
        seen[..., last:] &= places[last:] + moved[..., last:] <= side - 1
    return inside


def _warp_frame(image, flow, order, mode, fill):
    """Warp one frame."""
    look_up = _bilinear if order == 1 else _cubic
    if order == 1 and mode != "reflect" and flow.strides[:2] == (0, 0):  # one vector, broadcast
        warped = _moved(image, *flow[0, 0])
    else:
        warped = look_up(image, flow, "reflect" if mode == "reflect" else "nearest")
    if mode == "constant":
        warped[~looks_inside(flow)] = fill
    return warped


def _bilinear(image, flow, mode):
    """Mix the four pixels around each position, a few rows at a time: they stay in the cache."""
    height, width = image.shape
    # A border of one pixel stands for all that lies outside: positions are cut to it.
    padded = np.pad(image.astype(np.float32, copy=False), 1, "edge").ravel()
    rows = max(1, BLOCK_PIXELS // width)
    warped = np.empty(image.shape, np.float32)
    for start in range(0, height, rows):
        part = flow[start : start + rows]
        y = part[..., 0] + np.arange(start + 1, start + 1 + len(part), dtype=np.float32)[:, None]
        x = part[..., 1] + np.arange(1, width + 1, dtype=np.float32)
        if mode == "reflect":
            y, x = _mirror(y, height), _mirror(x, width)
        corner = _split(y, height).astype(np.intp)
        corner *= width + 2
        corner += _split(x, width).astype(np.intp)
        pixels = [padded.take(corner + step) for step in (0, 1, width + 2, width + 3)]
        warped[start : start + rows] = _mix(_mix(*pixels[:2], x), _mix(*pixels[2:], x), y)
    return warped


def _moved(image, dy, dx):
    """Mix the four pixels around each position where all of them look equally far: neighbours are slices."""
    places, fractions = [], []
    for side, distance in zip(image.shape, (dy, dx), strict=True):
        distance = np.clip(distance, -side, side)
        whole = int(np.floor(distance))
        places.append(np.clip(np.arange(whole, whole + side + 1), 0, side - 1))
        fractions.append(np.float32(distance - whole))
    height, width = image.shape
    step = max(1, BLOCK_PIXELS // width)
    moved = np.empty(image.shape, np.float32)
    for start in range(0, height, step):
        rows = places[0][start : start + step + 1]
        part = image[rows].take(places[1], axis=1).astype(np.float32, copy=False)
        part = _mix(part[:, :-1], part[:, 1:].copy(), fractions[1])
        moved[start : start + step] = _mix(part[:-1], part[1:].copy(), fractions[0])
    return moved


def _split(position, size):
    """Cut positions to 0 ... size + 1, return them rounded down and leave the fractions."""
    np.clip(position, 0, size + 1, out=position)
    whole = np.minimum(np.floor(position), size)
    position -= whole
    return whole


def _mix(first, second, fraction):
    """Return first + (second - first) * fraction, in place of `second`; exactly `first` for 0."""
    second -= first
    second *= fraction
    second += first
    return second


def _mirror(position, size):
    """Fold positions in a padded image back into it; the edge pixel is met twice."""
    position = np.mod(position - 0.5, 2 * size)
    return np.minimum(position, 2 * size - position) + 0.5


def _cubic(image, flow, mode):
    """Interpolate by a cubic spline."""
    height, width = image.shape
    where = np.empty((2, height, width), np.float32)
    where[0] = flow[..., 0] + np.arange(height, dtype=np.float32)[:, None]
    where[1] = flow[..., 1] + np.arange(width, dtype=np.float32)
    return ndimage.map_coordinates(image.astype(np.float32, copy=False), where, order=3, mode=mode)
