"""Summary pictures from files: one picture, or correlation, median and standard deviation."""

from pathlib import Path

import numpy as np

from calzoo.errors import CalzooError
from calzoo.imaging.cell_pictures import KINDS
from calzoo.imaging.frames import as_array, refuse_name

#: Names in an .npz file that are understood, by the channel of the networks; the first one found is taken.
NAMES = {
    "correlation": ("correlation", "corr", "cn", "Vcorr"),
    "brightness": ("brightness", "median", "mean", "meanImg", "max", "maximum", "max_proj"),
    "deviation": ("deviation", "standard_deviation", "std", "sd", "sdImg"),
}

#: Of files that may hold a picture.
SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".npy", ".npz")


def read_pictures(path):
    """Read one picture of a recording, or three.

    Parameters
    ----------
    path : path-like
        TIFF, PNG, JPEG or .npy with one picture (Y, X), or a stack (3, Y, X) of correlation, median and
        standard deviation; or .npz with arrays named as in `NAMES`.

    Returns
    -------
    dict of str to ndarray, (Y, X)
        By the names of `calzoo.imaging.cell_pictures.KINDS`; those that there are.

    Raises
    ------
    CalzooError
        If the file is missing, damaged, a colour picture or a movie.
    """
    path = Path(path)
    if not path.is_file():
        message = f"{path}: there is no such file; give a picture of a recording."
        raise CalzooError(message)
    try:
        array = _read(path)
    except CalzooError:
        raise
    except Exception as error:  # of Pillow, tifffile and NumPy, which have no common base
        message = (
            f"{path}: expected a picture (TIFF, PNG, JPEG, .npy, .npz), got one that cannot be read: {error}"
        )
        raise CalzooError(message) from error
    try:
        return array if isinstance(array, dict) else as_pictures(array)
    except CalzooError as error:
        message = f"{path}: {error}"
        raise CalzooError(message) from error


def picture_pixel_um(path):
    """Return the sides of a pixel in micrometres, (y, x), that a file states; None where it does not.

    Parameters
    ----------
    path : path-like
        What `read_pictures` reads; of these files TIFF alone says it.
    """
    if Path(path).suffix.lower() not in (".tif", ".tiff"):
        return None
    import tifffile

    from calzoo.imaging.readers.tiff_metadata import facts_of

    with tifffile.TiffFile(path) as tif:
        voxel = facts_of(tif, tif.series[0]).voxel_um
    return None if voxel is None or None in voxel[1:] else voxel[1:]


def as_pictures(summary):
    """Return pictures by kind.

    Parameters
    ----------
    summary : ndarray of shape (Y, X) or (3, Y, X), mapping of str to ndarray, or SummaryImages
        One picture; a stack of correlation, median and standard deviation; or pictures by the names of
        `KINDS`.

    Returns
    -------
    dict of str to ndarray, (Y, X)

    Raises
    ------
    CalzooError
        If it is something else, or holds NaN or infinity.
    """
    refuse_name(summary, "a picture")
    if hasattr(summary, "standard_deviation"):
        pictures = {
            "correlation": summary.correlation,
            "brightness": summary.median,
            "deviation": summary.standard_deviation,
        }
    elif hasattr(summary, "items"):
        pictures = {name: as_array(array) for name, array in summary.items() if array is not None}
        unknown = sorted(set(pictures) - set(KINDS))
        if unknown or not pictures:
            message = f"expected pictures named {', '.join(KINDS)}, got {', '.join(unknown) or 'none'}."
            raise CalzooError(message)
    else:
        pictures = _from_array(as_array(summary))
    # Zeros of a picture count as never recorded, which those of a mask are not.
    pictures = {n: p.astype(np.uint8) + np.uint8(1) if p.dtype == bool else p for n, p in pictures.items()}
    for name, picture in pictures.items():
        _check_picture(name, picture, next(iter(pictures.values())).shape)
    return pictures


def _from_array(array):
    array = array.reshape([side for side in array.shape if side != 1] or [1]) if array.ndim > 2 else array
    if array.ndim == 2:
        return {"brightness": array}
    if array.ndim == 3 and len(array) == 3:
        return dict(zip(KINDS, array, strict=True))
    what = "a colour picture" if array.ndim == 3 and array.shape[-1] in (3, 4) else f"an array {array.shape}"
    message = (
        f"expected one picture (Y, X), or a stack of correlation, median and standard deviation (3, Y, X); "
        f"got {what}. Convert colours to grey; give a movie without --summary."
    )
    raise CalzooError(message)


def _check_picture(name, picture, shape):
    if picture.dtype.kind not in "buif" or picture.ndim != 2 or 0 in picture.shape or picture.shape != shape:
        message = (
            f"expected pictures (Y, X) of real numbers and one size, got {name} with {picture.shape}, "
            f"{picture.dtype}."
        )
        raise CalzooError(message)
    if picture.dtype.kind == "f" and not np.isfinite(picture).all():
        message = (
            f"the picture {name} holds NaN or infinity; replace such values, e.g. with numpy.nan_to_num."
        )
        raise CalzooError(message)


def _read(path):
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return np.load(path, allow_pickle=False)
    if suffix == ".npz":
        return _read_npz(path)
    if suffix in (".tif", ".tiff"):
        return _read_tiff(path)
    from PIL import Image

    with Image.open(path) as image:
        if image.mode in ("P", "RGB", "RGBA", "CMYK", "YCbCr"):
            return _grey(path, np.asarray(image.convert("RGB")), -1)
        return np.asarray(image.convert("L") if image.mode in ("1", "LA") else image)


def _read_tiff(path):
    import tifffile

    with tifffile.TiffFile(path) as tif:
        series = tif.series[0]
        axes, array = series.axes, series.asarray()
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if "S" in axes:  # samples of a pixel: red, green, blue and perhaps how opaque it is
        return _grey(path, array, axes.index("S"))
    channels = array.shape[axes.index("C")] if "C" in axes else 1
    if channels > 1:
        message = (
            f"{path}: expected one picture, or a stack of correlation, median and standard deviation, got "
            f"{channels} channels; save the one you mean, or what are no channels as a stack of slices."
        )
        raise CalzooError(message)
    return array


def _grey(path, array, axis):
    """Return a picture of colours that are all grey as one picture."""
    colours = np.moveaxis(array, axis, -1)[..., :3]
    if (colours != colours[..., :1]).any():
        message = f"{path}: expected a grey picture, got one in colours; convert it to grey."
        raise CalzooError(message)
    return colours[..., 0]


def _read_npz(path):
    with np.load(path, allow_pickle=False) as file:
        found = {}
        for kind, names in NAMES.items():
            name = next((n for n in names if n in file.files), None)
            if name:
                found[kind] = file[name]
        if not found:
            message = (
                f"{path}: expected arrays such as corr, median, std or mean, "
                f"got {', '.join(file.files) or 'none'}."
            )
            raise CalzooError(message)
    return as_pictures(found)
