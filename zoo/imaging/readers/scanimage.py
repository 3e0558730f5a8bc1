"""ScanImage writes its settings as text; these few decide what the pages of a TIFF are.

Versions 2015 and later write them in a block after the file's header or in the tag
Software, earlier ones (SI4, SI5, 3.x: "state.") in the description of each page.
"""

import numpy as np

from calzoo.imaging.readers.pages import Facts
from calzoo.imaging.readers.units import micrometres, seconds

_CHANNELS = (
    "SI.hChannels.channelSave",
    "SI5.channelsSave",
    "SI4.channelsSave",
    "state.acq.numberOfChannelsSave",
)
_RATE = ("SI.hRoiManager.scanFrameRate", "SI5.scanFrameRate", "SI4.scanFrameRate", "state.acq.frameRate")
_AVERAGED = ("SI.hScan2D.logAverageFactor",)
_STEP = (
    "SI.hStackManager.actualStackZStepSize",
    "SI.hStackManager.stackZStepSize",
    "SI5.stackZStepSize",
    "SI4.stackZStepSize",
    "state.acq.zStepSize",
)
_SLICES = (
    "SI.hStackManager.actualNumSlices",
    "SI.hStackManager.numSlices",
    "SI.hFastZ.numFramesPerVolume",
    "SI5.stackNumSlices",
    "SI4.stackNumSlices",
    "state.acq.numberOfZSlices",
)
_FAST = ("SI.hFastZ.enable", "SI5.fastZEnable", "SI4.fastZEnable")
_REPEATS = ("SI.hStackManager.framesPerSlice",)
_VOLUMES = ("SI.hStackManager.actualNumVolumes", "SI.hStackManager.numVolumes")
_WITH_FLYBACK = ("SI.hStackManager.numFramesPerVolumeWithFlyback",)
_FLYBACK = ("SI.hFastZ.numDiscardFlybackFrames",)


def settings_of(tif):
    """Return ScanImage's settings as a dict of their names.

    Parameters
    ----------
    tif : tifffile.TiffFile
        The open file.
    """
    import tifffile

    settings = dict((tif.scanimage_metadata or {}).get("FrameData") or {})
    page = tif.pages.first
    for text in (page.software, page.description):
        for line in text.replace("\r", "\n").splitlines():
            name, sign, value = line.partition("=")
            name = name.strip().removeprefix("scanimage.")
            if sign and name.startswith(("SI", "state.")) and name not in settings:
                try:
                    settings[name] = tifffile.matlabstr2py(value.strip())
                # A value that is no number or list is none of those that we look for.
                except Exception:
                    continue
    return settings


def _first(settings, names):
    return next((settings[n] for n in names if n in settings), None)


def _count(value):
    """Return how many a setting means: a number, or the length of a list."""
    try:
        return max(int(value), 1)
    except (TypeError, ValueError, OverflowError):
        return 1


def layout_of(settings, n_pages):
    """Return what the pages are.

    Parameters
    ----------
    settings : dict
        As from `settings_of`.
    n_pages : int
        Pages in the file; those of a volume that was not finished are left out.

    Returns
    -------
    axes : str
        Letters of the axes that count the pages.
    shape : tuple of int
        Their lengths.
    numbers : numpy.ndarray of int64, shape `shape`
        Number of each page.
    """
    saved = _first(settings, _CHANNELS)
    if isinstance(saved, (list, tuple)):
        channels = max(len(saved), 1)
    else:
        channels = _count(saved) if "state.acq.numberOfChannelsSave" in settings else 1
    slices, fast = _slices(settings), bool(_first(settings, _FAST))
    repeats = _repeats(settings)
    if fast:
        stored, repeats = _fast_volume(settings)
    elif slices > 1 and repeats:
        stored = slices * repeats
    else:  # one volume, each slice with all of its frames
        repeats = n_pages // (channels * slices)
        stored = slices * repeats
    volumes = n_pages // (channels * stored) if stored else 0
    if volumes == 0:  # a stack that was stopped early: only its pages are certain
        return "q", (n_pages,), np.arange(n_pages, dtype=np.int64)
    counted = np.arange(volumes * stored * channels, dtype=np.int64).reshape(volumes, stored, channels)
    numbers = counted[:, : slices * repeats].reshape(volumes, slices, repeats, channels)
    if fast:
        numbers = numbers.swapaxes(1, 2).reshape(-1, slices, channels)
        return "tzc", numbers.shape, numbers
    numbers = numbers.swapaxes(0, 1).reshape(slices, -1, channels)
    return "ztc", numbers.shape, numbers


def _slices(settings):
    """Return the planes of a volume."""
    enabled = settings.get("SI.hStackManager.enable", True) or _first(settings, _FAST)
    return _count(_first(settings, _SLICES)) if enabled else 1


def _fast_volume(settings):
    """Return the pages of a volume, also those of the way back, and how many of a slice follow each other."""
    slices, repeats = _slices(settings), _repeats(settings)
    flyback, whole = _first(settings, _FLYBACK), _first(settings, _WITH_FLYBACK)
    stored = _count(whole) if whole else slices + (int(flyback) if flyback else 0)
    return max(stored, slices), repeats if repeats and slices * repeats <= stored else 1


def _repeats(settings):
    """Return how many pages of each slice follow each other in a volume, or None where nothing tells."""
    frames, averaged = _first(settings, _REPEATS), _count(_first(settings, _AVERAGED))
    try:
        return int(frames) // averaged if int(frames) % averaged == 0 else None
    except (TypeError, ValueError, OverflowError):  # absent, or "as many as come"
        return None


def facts_of(settings, page):
    """Return rate, voxel size and channels.

    Parameters
    ----------
    settings : dict
        As from `settings_of`.
    page : tifffile.TiffPage
        The first page.

    Returns
    -------
    Facts
    """
    rate = seconds(_first(settings, _RATE))  # a positive number, as a time must be
    if rate is not None:
        rate /= _count(_first(settings, _AVERAGED))
        volume_rate = seconds(settings.get("SI.hRoiManager.scanVolumeRate"))
        if _first(settings, _FAST):
            rate = volume_rate * _fast_volume(settings)[1] if volume_rate else rate
        elif _slices(settings) > 1 and _count(_first(settings, _VOLUMES)) > 1:
            rate = None  # a plane's frames wait for the other planes, nobody says how long
    height, width = _field(settings)
    voxel = (
        micrometres(_first(settings, _STEP), "um"),
        micrometres(height / page.imagelength if height else None, "um"),
        micrometres(width / page.imagewidth if width else None, "um"),
    )
    known = any(side is not None for side in voxel)
    return Facts(
        voxel_um=voxel if known else None,
        frame_rate_hz=rate,
        channel_names=_names(settings),
        is_stack=True,
    )


def _names(settings):
    saved, names = settings.get(_CHANNELS[0]), settings.get("SI.hChannels.channelName")
    if not isinstance(saved, (list, tuple)) or not isinstance(names, (list, tuple)):
        return ()
    try:
        return tuple(str(names[int(i) - 1]) for i in np.ravel(saved))
    except (IndexError, ValueError):
        return ()


def _field(settings):
    """Return height and width of the imaged field in micrometres, from its four corners."""
    try:
        corners = np.array(settings["SI.hRoiManager.imagingFovUm"], float).reshape(-1, 2)
    except (KeyError, ValueError):
        return None, None
    width, height = np.ptp(corners, axis=0)
    return float(height), float(width)
