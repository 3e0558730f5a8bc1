"""One picture of a result: the cells on the recording, the heat map, traces of the best cells."""

import math

import numpy as np

from calzoo.imaging.cell_pictures import median_diameter
from calzoo.imaging.contours import Outlines, display_range, enlarge, palette, to_grey

_SMALLEST, _LARGEST = 640, 1600  # pixels of a panel's longer side
_LINE, _GAP = 24, 8
_BEST = 12
_NUMBERED = 50  # the best cells; more numbers hide what they count
_SMALLEST_CELL = 30  # pixels of a cell's diameter that are drawn, where a panel holds as many
_HOLDS_A_NUMBER = 36  # pixels across, so that the cell is still seen around it
_LUMA = 165  # that every colour has at least, of 255
_TRACE_HEIGHT, _BAR = 34, 16
_COPIES = 0.98  # neighbours that correlate so are no cells, but repeated edges or saturated
_DARK, _LIGHT = (16, 16, 16), (230, 230, 230)


def draw_cells(path, pictures, masks, heat, *, scores, traces=None, frame_rate_hz=None, title=""):
    """Draw cells over pictures of a recording, and what the network thought, as PNG.

    Parameters
    ----------
    path : path-like
    pictures : mapping of str to ndarray, (Y, X)
        By name, from left to right. Of "correlation", pixels that are copies of their neighbours have no say
        in the contrast.
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

    zoom = _zoom(masks)
    panels = {
        name: _outlined(picture, _contrast(name, picture), masks, zoom) for name, picture in pictures.items()
    }
    panels["heat map"] = Image.fromarray(enlarge(_hot(heat), zoom))
    width, height = panels["heat map"].size
    if max(width, height) > _LARGEST:
        width, height = (max(1, round(side * _LARGEST / max(width, height))) for side in (width, height))
        panels = {name: panel.resize((width, height)) for name, panel in panels.items()}
    best = min(_BEST, len(masks)) if traces is not None and np.size(traces) else 0
    below = best * _TRACE_HEIGHT + _GAP + _BAR * bool(frame_rate_hz) if best else 0
    sheet = Image.new("RGB", (len(panels) * (width + _GAP) - _GAP, height + _LINE + below), _DARK)
    draw = ImageDraw.Draw(sheet)
    for place, (name, panel) in enumerate(panels.items()):
        left = place * (width + _GAP)
        sheet.paste(panel, (left, _LINE))
        line = name if place else "   ".join(filter(None, (title, name)))
        draw.text((left + 6, _LINE // 2), line, fill=_LIGHT, font=_font(14), anchor="lm")
    for place in range(best):
        top = height + _LINE + _GAP + place * _TRACE_HEIGHT
        _trace(draw, traces[place], (44, top, sheet.width - 8, top + _TRACE_HEIGHT - 4), place, scores[place])
    if best and frame_rate_hz:
        _time_bar(draw, traces.shape[1], frame_rate_hz, sheet)
    sheet.save(path, format="PNG", compress_level=6)


def _zoom(masks):
    """Return by how much to enlarge a picture: to a panel's size, and more where cells are small."""
    side = max(masks.shape)
    diameter = median_diameter(masks)
    seen = math.ceil(_SMALLEST_CELL / diameter) if np.isfinite(diameter) else 1
    return max(-(-_SMALLEST // side), min(seen, _LARGEST // side))


def _contrast(name, picture):
    """Return the levels that become black and white."""
    picture = np.asarray(picture)
    telling = picture[picture < _COPIES] if name == "correlation" else picture
    return display_range(telling if 2 * telling.size > picture.size else picture)


def _outlined(picture, levels, masks, zoom):
    """Return the picture with outlines and, where there is room, the numbers of the best cells."""
    from PIL import Image, ImageDraw

    shown = enlarge(to_grey(picture, *levels), zoom)[..., None].repeat(3, axis=2)
    colours = _light_palette(len(masks))
    Outlines(masks, zoom, colours).draw(shown)
    image = Image.fromarray(shown)
    draw, font = ImageDraw.Draw(image), _font(max(11, image.width // 110))
    taken = set()
    for number in range(1, min(len(masks), _NUMBERED) + 1):
        place, anchor = _number_place(masks[number - 1], zoom, image.width)
        cell = (round(place[0]) // 18, round(place[1]) // 12)
        if cell in taken:
            continue
        taken.add(cell)
        draw.text(
            place,
            str(number),
            fill=tuple(colours[number - 1].tolist()),
            font=font,
            anchor=anchor,
            stroke_width=1,
            stroke_fill=(0, 0, 0),
        )
    return image


def _number_place(mask, zoom, width):
    """Return (x, y) and anchor of a number: in the middle of a cell, or beside one that it would hide."""
    rows, columns = mask
    if min(np.ptp(rows), np.ptp(columns)) * zoom >= _HOLDS_A_NUMBER:
        return ((columns.mean() + 0.5) * zoom, (rows.mean() + 0.5) * zoom), "mm"
    y = (rows.mean() + 0.5) * zoom
    right = (columns.max() + 1) * zoom + 2
    return ((right, y), "lm") if right < width - 24 else ((columns.min() * zoom - 2, y), "rm")


def _light_palette(count):
    """Return the colours of `palette`, mixed with so much white that none is dark on dark tissue."""
    colours = palette(count).astype(float)
    luma = colours @ (0.299, 0.587, 0.114)
    white = np.clip((_LUMA - luma) / (255 - luma), 0, 1)[:, None]
    return np.rint(colours + white * (255 - colours)).astype(np.uint8)


def _hot(heat):
    """Return a map of 0 to 1 in black, red, yellow, white, uint8 (Y, X, 3)."""
    level = np.clip(np.asarray(heat, np.float32), 0, 1)[..., None] * 3 - np.arange(3)
    return (255 * np.clip(level, 0, 1)).astype(np.uint8)


def _trace(draw, values, box, place, score):
    """Draw one trace into a box (left, top, right, bottom): of many frames the range in each pixel."""
    left, top, right, bottom = box
    colour = tuple(_light_palette(place + 1)[place].tolist())
    draw.text((6, (top + bottom) // 2), f"{place + 1}", fill=colour, font=_font(12), anchor="lm")
    draw.text((40, bottom), f"{score:.2f}", fill=(140, 140, 140), font=_font(9), anchor="rs")
    low, high = np.percentile(values, (1, 99.8))
    scaled = np.clip((values - low) / ((high - low) or 1), -0.1, 1.1)
    y = bottom - 2 - scaled * (bottom - top - 4)
    columns = np.linspace(left, right, len(values), dtype=int)
    if len(values) <= right - left:
        draw.line(list(zip(columns.tolist(), y.tolist(), strict=True)), fill=colour)
        return
    starts = np.flatnonzero(np.diff(columns, prepend=-1))
    for start, stop in zip(starts, [*starts[1:], len(y)], strict=True):
        part = y[max(start - 1, 0) : stop]  # from the frame before on, or jumps would be gaps
        column = int(columns[start])
        draw.line([(column, float(part.min())), (column, float(part.max()) + 1)], fill=colour)


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
