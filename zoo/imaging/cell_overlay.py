"""One picture of a result: the cells on the recording, the heat map, traces of the best cells."""

import numpy as np

from calzoo.imaging.contours import Outlines, display_range, enlarge, palette, to_grey

_SMALLEST, _LARGEST = 640, 1600  # pixels of a panel's longer side
_LINE, _GAP = 24, 8
_BEST = 12
_TRACE_HEIGHT, _BAR = 34, 16
_DARK, _LIGHT = (16, 16, 16), (230, 230, 230)


def draw_cells(path, picture, masks, heat, *, scores, traces=None, frame_rate_hz=None, title=""):
    """Draw cells over a picture, and what the network thought, as PNG.

    Parameters
    ----------
    path : path-like
    picture : ndarray, (Y, X)
        The correlation image, or the one picture that there is.
    masks : Masks
        The best first.
    heat : ndarray of float32, (Y, X)
        0 to 1.
    scores : ndarray, (N,)
    traces : ndarray, (N, T), optional
    frame_rate_hz : float, optional
    title : str, optional
        One line above.
    """
    from PIL import Image, ImageDraw

    zoom = -(-_SMALLEST // max(picture.shape))
    left = _outlined(picture, masks, zoom)
    right = Image.fromarray(enlarge(_hot(heat), zoom))
    if max(left.size) > _LARGEST:
        size = tuple(max(1, round(side * _LARGEST / max(left.size))) for side in left.size)
        left, right = left.resize(size), right.resize(size)
    width, height = left.size
    best = min(_BEST, len(masks)) if traces is not None and np.size(traces) else 0
    below = best * _TRACE_HEIGHT + _GAP + _BAR * bool(frame_rate_hz) if best else 0
    sheet = Image.new("RGB", (2 * width + _GAP, height + _LINE + below), _DARK)
    sheet.paste(left, (0, _LINE))
    sheet.paste(right, (width + _GAP, _LINE))
    draw = ImageDraw.Draw(sheet)
    draw.text((6, _LINE // 2), title, fill=_LIGHT, font=_font(14), anchor="lm")
    draw.text((width + _GAP + 6, _LINE // 2), "heat map", fill=_LIGHT, font=_font(14), anchor="lm")
    for place in range(best):
        top = height + _LINE + _GAP + place * _TRACE_HEIGHT
        _trace(draw, traces[place], (44, top, sheet.width - 8, top + _TRACE_HEIGHT - 4), place, scores[place])
    if best and frame_rate_hz:
        _time_bar(draw, traces.shape[1], frame_rate_hz, sheet)
    sheet.save(path, format="PNG", compress_level=6)


def _outlined(picture, masks, zoom):
    """Return the picture with outlines and, where there is room, numbers."""
    from PIL import Image, ImageDraw

    shown = enlarge(to_grey(picture, *display_range(picture)), zoom)[..., None].repeat(3, axis=2)
    Outlines(masks, zoom).draw(shown)
    image = Image.fromarray(shown)
    draw, font = ImageDraw.Draw(image), _font(11)
    colours = palette(len(masks))
    centers = masks.centers if len(masks) else np.empty((0, 2))
    taken = set()
    for number, (y, x) in enumerate(centers, 1):
        place = (round((x + 0.5) * zoom), round((y + 0.5) * zoom))
        cell = (place[0] // 18, place[1] // 12)
        if cell in taken:
            continue
        taken.add(cell)
        colour = tuple(int(c) for c in colours[number - 1])
        draw.text(
            place, str(number), fill=colour, font=font, anchor="mm", stroke_width=1, stroke_fill=(0, 0, 0)
        )
    return image


def _hot(heat):
    """Return a map of 0 to 1 in black, red, yellow, white, uint8 (Y, X, 3)."""
    level = np.clip(np.asarray(heat, np.float32), 0, 1)[..., None] * 3 - np.arange(3)
    return (255 * np.clip(level, 0, 1)).astype(np.uint8)


def _trace(draw, values, box, place, score):
    """Draw one trace into a box (left, top, right, bottom): of many frames the range in each pixel."""
    left, top, right, bottom = box
    colour = tuple(int(c) for c in palette(place + 1)[place])
    draw.text((6, (top + bottom) // 2), f"{place + 1}", fill=colour, font=_font(12), anchor="lm")
    draw.text((40, bottom), f"{score:.2f}", fill=(140, 140, 140), font=_font(9), anchor="rs")
    low, high = np.percentile(values, (1, 99.8))
    scaled = np.clip((values - low) / ((high - low) or 1), -0.1, 1.1)
    y = bottom - 2 - scaled * (bottom - top - 4)
    columns = np.linspace(left, right, len(values), dtype=int)
    if len(values) <= right - left:
        draw.line(list(zip(columns.tolist(), y.tolist(), strict=True)), fill=colour)
        return
    for column in np.unique(columns):
        part = y[columns == column]
        draw.line([(int(column), float(part.min())), (int(column), float(part.max()) + 1)], fill=colour)


def _time_bar(draw, frames, frame_rate_hz, sheet):
    seconds = frames / frame_rate_hz
    length = max(
        (n for n in (1, 2, 5, 10, 20, 60, 120, 300, 600, 1800, 3600) if n <= seconds / 4), default=None
    )
    if length:
        width = length / seconds * (sheet.width - 52)
        right, bottom = sheet.width - 10, sheet.height - 4
        draw.line([(right - width, bottom), (right, bottom)], fill=_LIGHT, width=2)
        draw.text((right - width - 4, bottom), f"{length} s", fill=_LIGHT, font=_font(11), anchor="rs")


def _font(size):
    from PIL import ImageFont

    return ImageFont.load_default(size)
