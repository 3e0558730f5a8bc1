"""Pictures of results: drawn pixel by pixel with Pillow, which starts much faster than a plotting library."""

import colorsys

import numpy as np

from calzoo.imaging.normalisation import percentile_range

_SMALLEST, _LARGEST = 480, 1600  # pixels of a panel's longer side
_GAP, _LINE = 8, 22  # pixels between panels; height of a line of text
_AXON, _BORDER = (240, 170, 20), (70, 170, 240)  # told apart by colour-blind readers too
_NUMBERED = 30
_BAR_LENGTHS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)  # micrometres


class Projection:
    """What is seen of a volume from above, gathered slab by slab.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns (Y, X).

    Attributes
    ----------
    brightest : ndarray, (Y, X)
        Largest intensity along z.
    classes : ndarray of uint8, (Y, X)
        1 where there is axon, 2 where there is border but no axon, else 0.
    labels : ndarray of int32, (Y, X)
        Smallest label along z: the largest axon where several cross.
    """

    def __init__(self, shape):
        self.brightest = None
        self.classes = np.zeros(shape, np.uint8)
        self.labels = np.zeros(shape, np.int32)

    def add_image(self, planes):
        """Take in planes (n, Y, X) of the volume."""
        top = planes.max(axis=0)
        self.brightest = top if self.brightest is None else np.maximum(self.brightest, top)

    def add_classes(self, planes):
        """Take in planes (n, Y, X) of 0 background, 1 axon, 2 border."""
        # As 0 wraps to 255, the smallest of what remains is axon before border before background.
        top = np.minimum.reduce(planes - np.uint8(1), axis=0)
        self.classes = np.minimum(self.classes - np.uint8(1), top) + np.uint8(1)

    def add_labels(self, planes):
        """Take in planes (n, Y, X) of labels, 0 background."""
        top = np.minimum.reduce(planes.view(np.uint32) - np.uint32(1), axis=0)
        least = np.minimum(self.labels.view(np.uint32) - np.uint32(1), top)
        self.labels = (least + np.uint32(1)).view(np.int32)


def draw_axons(path, projection, *, title, pixel_um=None):
    """Draw a stack seen from above: outlines of its axons, and its classes.

    Parameters
    ----------
    path : path
        A .png file.
    projection : Projection
        Of all slabs.
    title : str
        One line above the panels.
    pixel_um : float, optional
        Width of a pixel in micrometres, for a scale bar.
    """
    from PIL import Image

    image, classes, labels = _fitted(projection.brightest, projection.classes, projection.labels)
    grey = _grey(image)
    outlined = np.repeat(grey[..., None], 3, axis=-1)
    edge = _outline(labels)
    outlined[edge] = _palette(int(labels.max(initial=0)))[labels[edge]]
    classified = np.repeat((grey * 0.7).astype(np.uint8)[..., None], 3, axis=-1)
    for code, colour in ((1, _AXON), (2, _BORDER)):
        inside = classes == code
        classified[inside] = (0.5 * classified[inside] + 0.5 * np.array(colour)).astype(np.uint8)
    zoom = image.shape[1] / projection.classes.shape[1]
    panels = [Image.fromarray(outlined), Image.fromarray(classified)]
    _number(panels[0], labels)
    if pixel_um:
        _scale_bar(panels[0], pixel_um / zoom)
    _sheet(panels, title).save(path, format="PNG", compress_level=3)


def _fitted(image, classes, labels):
    """Return the three maps with whole-number zoom or reduction, so that a panel is neither tiny nor huge."""
    side = max(image.shape)
    zoom, step = -(-_SMALLEST // side), -(-side // _LARGEST)
    if step > 1:
        # Brightest, axon before border, largest axon of each block.
        image = _blocks(image, step).max(axis=(1, 3))
        classes = (_blocks(classes - np.uint8(1), step, 255).min(axis=(1, 3))) + np.uint8(1)
        labels = _blocks(labels.view(np.uint32) - np.uint32(1), step, 2**32 - 1).min(axis=(1, 3))
        labels = (labels + np.uint32(1)).view(np.int32)
    if zoom > 1:
        image, classes, labels = (
            m.repeat(zoom, axis=0).repeat(zoom, axis=1) for m in (image, classes, labels)
        )
    return image, classes, labels


def _blocks(array, step, fill=None):
    """Return an array as (rows, step, columns, step), its far ends filled up."""
    pads = [(0, -side % step) for side in array.shape]
    array = np.pad(array, pads, mode="edge") if fill is None else np.pad(array, pads, constant_values=fill)
    return array.reshape(array.shape[0] // step, step, array.shape[1] // step, step)


def _grey(image):
    low, high = percentile_range(image, 1, 99.7, ignore_zeros=True)
    scaled = (image.astype(np.float64) - low) / ((high - low) or 1)
    # A square root, as dim axons matter as much as bright ones.
    return (255 * np.sqrt(np.clip(scaled, 0, 1))).astype(np.uint8)


def _outline(labels):
    """Return the labelled pixels with another label, or none, at a side."""
    padded = np.pad(labels, 1, mode="edge")
    centre = padded[1:-1, 1:-1]
    sides = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    return (labels > 0) & np.logical_or.reduce([centre != side for side in sides])


def _palette(count):
    """Return colours (count + 1, 3) whose hues jump by the golden section: neighbours in size differ."""
    colours = [(0.0, 0.0, 0.0)] + [colorsys.hsv_to_rgb(i * 0.618034 % 1, 0.65, 1) for i in range(count)]
    return (255 * np.array(colours)).astype(np.uint8)


def _number(panel, labels):
    """Write the numbers of the largest axons beside them, those that find room."""
    from PIL import ImageDraw

    draw, font = ImageDraw.Draw(panel), _font(14)
    colours = _palette(_NUMBERED)
    taken = []
    for label in range(1, min(_NUMBERED, int(labels.max(initial=0))) + 1):
        places = np.argwhere(labels == label)
        if not len(places):
            continue
        middle = np.abs(places - np.median(places, axis=0)).sum(axis=1)
        y, x = places[middle.argmin()]
        if any(abs(y - b) < 14 and abs(x - a) < 18 for b, a in taken):
            continue
        taken.append((y, x))
        draw.text(
            (int(x), int(y)),
            str(label),
            fill=tuple(colours[label].tolist()),
            font=font,
            anchor="mm",
            stroke_width=2,
            stroke_fill=(0, 0, 0),
        )


def _scale_bar(panel, pixel_um):
    from PIL import ImageDraw

    width, height = panel.size
    fitting = [length for length in _BAR_LENGTHS if length / pixel_um <= width / 4]
    if not fitting:
        return
    length = fitting[-1]
    right, bottom = width - 12, height - 12
    draw = ImageDraw.Draw(panel)
    box = (right - round(length / pixel_um), bottom - 4, right, bottom)
    draw.rectangle(box, fill=(255, 255, 255), outline=(0, 0, 0))
    middle = ((box[0] + box[2]) // 2, bottom - 8)
    draw.text(middle, f"{length} um", fill=(255, 255, 255), font=_font(13), anchor="mb",
              stroke_width=2, stroke_fill=(0, 0, 0))  # fmt: skip


def _sheet(panels, title):
    """Put panels side by side, or one below the other where they are wide, under a title and a legend."""
    from PIL import Image, ImageDraw

    width, height = panels[0].size
    beside = width < 1.6 * height
    places = [(0, 0), (width + _GAP, 0) if beside else (0, height + _GAP)]
    size = (places[1][0] + width, places[1][1] + height + 2 * _LINE)
    sheet = Image.new("RGB", size, (16, 16, 16))
    for panel, (x, y) in zip(panels, places, strict=True):
        sheet.paste(panel, (x, y + _LINE))
    draw, font = ImageDraw.Draw(sheet), _font(14)
    draw.text((6, _LINE // 2), title, fill=(230, 230, 230), font=font, anchor="lm")
    x, y = places[1][0] + 6, size[1] - _LINE // 2
    for name, colour in (("axon", _AXON), ("border", _BORDER)):
        draw.rectangle((x, y - 5, x + 10, y + 5), fill=colour)
        draw.text((x + 16, y), name, fill=(230, 230, 230), font=font, anchor="lm")
        x += 90
    return sheet


def _font(size):
    from PIL import ImageFont

    return ImageFont.load_default(size)
