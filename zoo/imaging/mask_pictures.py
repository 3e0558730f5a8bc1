"""Read which pixels of a recording are meant, from masks or from a picture."""

from pathlib import Path

import numpy as np

from calzoo.errors import CalzooError


def read_mask(path, frame_shape, group=None):
    """Read an area of the frame: where masks are, or a picture is not 0.

    Parameters
    ----------
    path : path
        A masks.npz or a picture.
    frame_shape : tuple of int
        (Y, X).
    group : str, optional
        Of the masks.npz, as for `calzoo.read_masks`.

    Returns
    -------
    ndarray of bool, (Y, X)

    Raises
    ------
    CalzooError
        If it cannot be read or has another shape.
    """
    path = Path(path)
    if path.suffix == ".npz":
        from calzoo.imaging.masks import read_masks

        mask = read_masks(path, group).count() > 0
    else:
        from calzoo.imaging.readers import files

        if group is not None:
            message = (
                f"{path}: a picture has no groups of masks, got group {group!r} (--group); leave it out."
            )
            raise CalzooError(message)
        mask = _picture(files.existing(path)) > 0
    if mask.shape != tuple(frame_shape):
        message = (
            f"{path}: expected a mask of the movie's frames {tuple(frame_shape)}, got {mask.shape}; give the "
            "mask of this recording."
        )
        raise CalzooError(message)
    return mask


def _picture(path):
    """Return the pixels of an image file, (Y, X); of colours the brightest."""
    try:
        pixels = _read_tiff(path) if path.suffix.lower() in (".tif", ".tiff") else _read_image(path)
    except (OSError, ValueError) as error:  # those of Pillow are of these kinds
        message = f"{path}: expected masks (.npz) or a picture of the frame, got a file that is neither."
        raise CalzooError(message) from error
    if pixels.ndim == 3 and pixels.shape[-1] in (3, 4):
        pixels = pixels[..., :3].max(axis=-1)
    if pixels.ndim != 2:
        message = (
            f"{path}: expected one picture (Y, X) of the frame, got an array of shape {pixels.shape}; give "
            "one page of it, or masks (.npz)."
        )
        raise CalzooError(message)
    return pixels


def _read_tiff(path):
    import tifffile

    try:
        return tifffile.imread(path)
    except tifffile.TiffFileError as error:  # in some versions no ValueError
        raise ValueError(str(error)) from error


def _read_image(path):
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("L") if image.mode in ("1", "LA") else image)
