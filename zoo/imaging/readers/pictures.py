"""Single pictures as pages: TIFF, PNG and JPEG, one by one in a folder or a ZIP archive."""

import io

import numpy as np

from calzoo.errors import CalzooError
from calzoo.imaging.readers.pages import Facts, Pages

# JPEG keeps a grey picture in three channels that may differ by rounding.
_GREY_TOLERANCE = 2


class PicturePages(Pages):
    """Pages of which each is a picture of its own.

    Parameters
    ----------
    path : pathlib.Path
        The folder or archive, for messages.
    names : sequence of str
        What the pictures are called, in order.
    load : callable
        ``load(name)`` returns the bytes of a picture.
    close : callable, optional
        Called when the pictures are no longer needed.
    """

    def __init__(self, path, names, load, close=None):
        self._names, self._load, self._done = names, load, close
        first = decode(load(names[0]), names[0])
        self._samples = 1 if first.ndim == 2 else first.shape[2]
        axes, shape = "qyx", (len(names), *first.shape[:2])
        if self._samples > 1:
            axes, shape = "qyxs", (*shape, self._samples)
        super().__init__(path, axes, shape, first.dtype, Facts(is_stack=True))

    def read(self, numbers):
        """Return the pages `numbers`, one picture at a time."""
        out = np.empty((len(numbers), *self.page_shape), self.dtype)
        for i, number in enumerate(numbers):
            picture, sample = divmod(int(number), self._samples)
            out[i] = self._picture(picture, sample)
        return out

    def _picture(self, number, sample):
        name = self._names[number]
        picture = decode(self._load(name), name)
        samples = 1 if picture.ndim == 2 else picture.shape[2]
        if picture.shape[:2] != self.page_shape or picture.dtype != self.dtype or samples != self._samples:
            message = (
                f"{self.name}: {name}: expected {self.page_shape} {self.dtype} with {self._samples} "
                f"channel(s) as the first picture, got {picture.shape[:2]} {picture.dtype} with {samples}; "
                "remove what does not belong to the recording."
            )
            raise CalzooError(message)
        return picture if picture.ndim == 2 else picture[..., sample]

    def close(self):
        """Close the archive, if it is one."""
        if self._done is not None:
            self._done()


def decode(content, name):
    """Return the pixels of one picture.

    Parameters
    ----------
    content : bytes
        A TIFF, PNG or JPEG file.
    name : str
        For messages.

    Returns
    -------
    numpy.ndarray, shape (Y, X) or (Y, X, 3)
        Grey values in native byte order; three channels only where they differ.
    """
    try:
        picture = _tiff(content) if content[:2] in (b"II", b"MM") else _pillow(content)
    # Decoders meet damaged files with almost any exception.
    except Exception as error:
        if "imagecodecs" in str(error):
            message = (
                f"{name}: this compression needs a package that is not installed: pip install imagecodecs."
            )
        else:
            reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
            message = (
                f"{name}: expected a picture, got a damaged or truncated file ({reason}); copy it again."
            )
        raise CalzooError(message) from error
    return picture.astype(picture.dtype.newbyteorder("="), copy=False)


def _tiff(content):
    import tifffile

    with tifffile.TiffFile(io.BytesIO(content), is_ome=False, is_shaped=False) as tif:
        if len(tif.pages) != 1:
            message = f"{len(tif.pages)} pages where one is expected; give the stacks as a list of files"
            raise ValueError(message)
        page = tif.pages.first
        if page.nbytes > 40_000 * len(content):
            message = f"claims {page.nbytes} bytes"
            raise ValueError(message)
        picture = page.asarray(maxworkers=1)
        if page.axes == "SYX":
            picture = np.moveaxis(picture, 0, -1)
    if picture.ndim == 3 and picture.shape[2] != 3:
        picture = picture[..., :3]
    return _grey(picture)


def _pillow(content):
    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        image.load()
        # "I;16" is a 16-bit grey PNG, "I" a 32-bit one, "F" floats, "1" bits.
        if image.mode in ("L", "I;16", "I;16B", "I", "F", "1"):
            return np.array(image)
        return _grey(np.array(image.convert("RGB")))


def _grey(picture):
    """Return one channel where all are the same: a grey picture that was saved in colour."""
    if picture.ndim == 2:
        return picture
    if picture.dtype == np.uint8:
        red, green, blue = (picture[..., i].astype(np.int16) for i in range(3))
        if max(np.abs(red - green).max(), np.abs(blue - green).max()) <= _GREY_TOLERANCE:
            return np.ascontiguousarray(picture[..., 1])
    return picture
