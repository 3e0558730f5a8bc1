"""TIFF, BigTIFF, OME-TIFF, ImageJ and ScanImage stacks as pages."""

import contextlib
import logging
import math
import os
import struct
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from calzoo.errors import CalzooError
from calzoo.imaging.readers import scanimage, tiff_metadata
from calzoo.imaging.readers.pages import Pages, RawPages

_DEFLATE = (8, 32946, 50013)
# The most that a byte of a page can hold decoded: deflate's limit, and a generous one for the others.
# A header that claims more is damaged, and must not make us allocate.
_DEFLATE_RATIO, _OTHER_RATIO = 1100, 40_000


class _Silence(logging.Handler):
    def emit(self, record):
        pass


@contextlib.contextmanager
def _quiet():
    """Keep tifffile's log off the screen: what matters is raised here in plain words."""
    logger = logging.getLogger("tifffile")
    handler, propagate = _Silence(), logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate


def open_tiff(path):
    """Open a TIFF as pages.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Returns
    -------
    Pages
        Uncompressed contiguous pages are read straight from the file, others one
        page at a time.

    Raises
    ------
    CalzooError
        If the file is damaged or truncated, or holds several images.
    """
    import tifffile

    tif = None
    try:
        with _quiet():
            tif = tifffile.TiffFile(path)
            pages = _pages(path, tif)
    except CalzooError:
        _close(tif)
        raise
    # tifffile meets a damaged file with almost any exception.
    except Exception as error:
        _close(tif)
        message = (
            f"{path}: expected a TIFF, got a damaged or truncated file ({_short(error)}); copy or export it "
            "again."
        )
        raise CalzooError(message) from error
    return pages


def _close(tif):
    if tif is not None:
        tif.close()


def _short(error):
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


def _pages(path, tif):
    if tif.is_scanimage:
        return _scanimage_pages(path, tif)
    if not tif.series:
        message = f"{path}: expected an image, got a TIFF without one; export it again."
        raise CalzooError(message)
    series = _only_series(path, tif)
    if len(tif.pages) == 1:  # or the first of many, if tifffile met the end of the file before the second
        _count_pages(path, tif)
    axes, shape = _axes(path, series)
    facts = tiff_metadata.facts_of(tif, series)
    first = series.keyframe
    offset = series.dataoffset
    if offset is not None and axes.endswith("yx") and first.compression == 1 and first.is_contiguous:
        stored = series.dtype.newbyteorder(tif.byteorder)
        pages = RawPages(path, axes, shape, stored, offset, facts)
        tif.close()
        return pages
    # The pages of these may lie in several files.
    spread = series.kind in ("ome", "mmstack", "ndtiff")
    available = len(series) if spread else _count_pages(path, tif)
    return TiffPages(path, tif, series, axes, shape, facts, available)


def _scanimage_pages(path, tif):
    """Return ScanImage's pages in our own order: to tifffile, every volume of a fast stack is more planes."""
    import tifffile

    count = _count_pages(path, tif)
    settings = scanimage.settings_of(tif)
    if len(tif.pages) < count:  # tifffile's short cut for files below 4 GB ends before the last page
        tif.close()
        tif = tifffile.TiffFile(path, is_scanimage=False)
    pages, first = tif.pages, tif.pages.first
    pages.useframes = True
    lead, lengths, numbers = scanimage.layout_of(settings, count)
    facts = scanimage.facts_of(settings, first)
    shape = (*lengths, first.imagelength, first.imagewidth)
    result = TiffPages(path, tif, pages, lead + "yx", shape, facts, count)
    result.numbers = numbers
    return result


def _only_series(path, tif):
    series = tif.series[0]
    others = [s for s in tif.series[1:] if not s.keyframe.is_reduced and s.kind != "lsm"]
    if others:
        shapes = ", ".join("x".join(map(str, s.shape)) for s in [series, *others][:4])
        message = (
            f"{path}: expected one image, got {1 + len(others)} in one file (shapes {shapes}); save the one "
            "you mean in a file of its own."
        )
        raise CalzooError(message)
    return series


def _axes(path, series):
    """Return axis letters and lengths; letters that mean nothing to us become q."""
    letters, lengths = "", []
    for letter, length in zip(series.get_axes(False), series.get_shape(False), strict=True):
        name = letter.lower()
        if length == 1 and name == "s":
            continue
        letters += name if name in "tzcsyxqi" else "q"
        lengths.append(int(length))
    if letters.count("y") != 1 or letters.count("x") != 1:
        message = (
            f"{path}: expected pages of rows and columns, got axes {series.axes}; save the image as a stack."
        )
        raise CalzooError(message)
    return letters, tuple(lengths)


def _count_pages(path, tif):
    """Follow the chain of pages to its end, and say so if it has none: the file was cut short."""
    handle, form = tif.filehandle, tif.tiff
    size = handle.size
    offset, seen = tif.pages.first.offset, set()
    while offset and offset not in seen:
        seen.add(offset)
        handle.seek(offset)
        count = handle.read(form.tagnosize)
        if len(count) == form.tagnosize:
            handle.seek(offset + form.tagnosize + struct.unpack(form.tagnoformat, count)[0] * form.tagsize)
            link = handle.read(form.offsetsize)
        if len(count) < form.tagnosize or len(link) < form.offsetsize:
            message = (
                f"{path}: the file is truncated: a page is missing at byte {offset} of {size}; copy or "
                "export it again."
            )
            raise CalzooError(message)
        offset = struct.unpack(form.offsetformat, link)[0]
    return len(seen)


def is_one_page(path):
    """Return whether a TIFF holds one picture and no more, without decoding any of it.

    Parameters
    ----------
    path : pathlib.Path
        A TIFF.
    """
    import tifffile

    try:
        with _quiet(), tifffile.TiffFile(path, is_ome=False) as tif:
            # ImageJ's large stacks have one directory for all pages, whose number stands in the description.
            images = (tif.imagej_metadata or {}).get("images", 1)
            return len(tif.pages) == 1 and images <= 1
    # Whatever is wrong with it is said where it is opened.
    except Exception:
        return False


class TiffPages(Pages):
    """Pages that are decoded one at a time."""

    def __init__(self, path, tif, series, axes, shape, facts, available):
        super().__init__(path, axes, shape, series.keyframe.dtype, facts)
        self._tif, self._series = tif, series
        self._lock = threading.RLock()
        self._samples = shape[axes.index("s")] if "s" in axes and len(series.keyframe.shape) > 2 else 1
        self._sample_axis = series.keyframe.axes.find("S")
        self._check_pages(available)

    def _check_pages(self, available):
        expected = math.prod(self.lead_shape)
        # A volumetric page (several planes in one) has no place of its own for each plane.
        if available * self._samples < expected or math.prod(self._series.keyframe.shape) != math.prod(
            (*self.page_shape, self._samples)
        ):
            message = (
                f"{self.name}: the file is truncated or damaged: it promises {expected} pages of "
                f"{self.page_shape}, it holds {available * self._samples}; copy or export it again."
            )
            raise CalzooError(message)
        page = self._series.keyframe
        ratio = (
            1 if page.compression == 1 else _DEFLATE_RATIO if page.compression in _DEFLATE else _OTHER_RATIO
        )
        if page.nbytes > ratio * self._tif.filehandle.size + 4096:
            message = (
                f"{self.name}: damaged: a page claims {page.nbytes} bytes ({page.shape}), the whole file has "
                f"{self._tif.filehandle.size}; copy or export it again."
            )
            raise CalzooError(message)

    def read(self, numbers):
        """Return the pages `numbers`, decoded one at a time in each thread."""
        out = np.empty((len(numbers), *self.page_shape), self.dtype)

        def fill(i):
            out[i] = self._decode(*divmod(int(numbers[i]), self._samples))

        workers = 1 if self._series.keyframe.compression == 1 else min(len(numbers), os.cpu_count() or 1, 8)
        with _quiet():
            if workers < 2:
                for i in range(len(numbers)):
                    fill(i)
            else:  # zlib lets other threads run
                with ThreadPoolExecutor(workers) as pool:
                    list(pool.map(fill, range(len(numbers))))
        return out

    def _decode(self, number, sample):
        try:
            with self._lock:
                page = self._series[number]
                if page is None:
                    message = "the page is missing"
                    raise ValueError(message)
                self._check_place(page)
            picture = page.asarray(maxworkers=1, lock=self._lock)
            if self._samples > 1:
                picture = picture.take(sample, self._sample_axis)
            return picture.reshape(self.page_shape)
        except Exception as error:
            if "imagecodecs" in str(error):
                name = getattr(self._series.keyframe.compression, "name", self._series.keyframe.compression)
                message = (
                    f"{self.name}: the pages are compressed with {name}, which needs a package that is not "
                    "installed: pip install imagecodecs, or save the file uncompressed or with ZIP "
                    "(deflate)."
                )
            else:
                message = (
                    f"{self.name}: page {number} cannot be read, the file is truncated or damaged "
                    f"({_short(error)}); copy or export it again."
                )
            raise CalzooError(message) from error

    def _check_place(self, page):
        size = page.parent.filehandle.size
        for start, count in zip(page.dataoffsets, page.databytecounts, strict=True):
            if start + count > size:
                message = f"its data end at byte {start + count} of {size}"
                raise ValueError(message)

    def close(self):
        """Close the file."""
        self._tif.close()
