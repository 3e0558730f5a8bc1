"""Which pages are the planes, or the frames, of the recording that was asked for."""

import math
from numbers import Integral

import numpy as np

from calzoo.errors import CalzooError

UNNAMED = "qi"  # axes that the file does not name
NAMES = {"t": "time points", "z": "planes", "c": "channels", "s": "colours", "q": "unnamed", "i": "unnamed"}


def described(pages):
    """Return the axes of a recording in words, e.g. "zcyx (20 planes, 2 channels, 512 x 512)"."""
    lead = [f"{n} {NAMES.get(a, a)}" for a, n in zip(pages.lead_axes, pages.lead_shape, strict=True)]
    height, width = pages.page_shape
    return f"{pages.axes.upper()} ({', '.join([*lead, f'{height} x {width} pixels'])})"


def normalised(axes):
    """Return axis letters in lower case, or say what is wrong with them."""
    letters = str(axes).lower()
    wrong = set(letters) - set("tzcsyx")
    if wrong or len(set(letters)) != len(letters) or not {"y", "x"} <= set(letters):
        message = (
            f"axes {axes!r}: expected each axis once, as one of T (time), Z (plane), C (channel), Y (row) "
            "and X (column), e.g. ZYX, CZYX or TYX."
        )
        raise CalzooError(message)
    return letters


def squeeze(pages):
    """Drop the page-counting axes of length 1: they change no page's number."""
    kept = [(a, n) for a, n in zip(pages.axes, pages.shape, strict=True) if a in "yx" or n > 1]
    return pages.relabelled("".join(a for a, _ in kept), tuple(n for _, n in kept))


def relabel(pages, axes):
    """Name the axes as the user does.

    Parameters
    ----------
    pages : Pages
        A recording with the axes that its metadata name.
    axes : str
        Letters in file order, either for all axes or for those longer than 1.

    Returns
    -------
    Pages
        The same, renamed.
    """
    letters = normalised(axes)
    if len(letters) != len(pages.shape):
        squeeze(pages)
    lengths = pages.shape
    if not pages.lead_axes:
        # One picture: every axis beside its rows and columns has length 1.
        lengths = tuple(dict(zip(pages.axes, pages.shape, strict=True)).get(a, 1) for a in letters)
    elif len(letters) != len(pages.axes):
        message = (
            f"{pages.name}: axes {axes!r} name {len(letters)} axes, the file has {len(pages.axes)}: "
            f"{described(pages)}; give one letter for each."
        )
        raise CalzooError(message)
    elif [letters.index(a) for a in "yx"] != [pages.axes.index(a) for a in "yx"]:
        message = (
            f"{pages.name}: axes {axes!r} put rows and columns elsewhere than the file does: "
            f"{described(pages)}; Y and X must come where they are there."
        )
        raise CalzooError(message)
    return pages.relabelled(letters, lengths, plain_stack=False, is_stack=True)


def channel_number(pages, channel):
    """Return which channel to take, and how many there are.

    Parameters
    ----------
    pages : Pages
        A recording.
    channel : int, str or None
        Position from 0 (negative from the end), or a name that the metadata give.

    Returns
    -------
    (int, int)
        Position and number of channels.
    """
    letters = [a for a in pages.lead_axes if a in "cs"]
    sizes = dict(zip(pages.lead_axes, pages.lead_shape, strict=True))
    count = math.prod(sizes[a] for a in letters)
    names = pages.facts.channel_names if len(pages.facts.channel_names) == count else ()
    listed = ", ".join(f"{i} {n!r}" for i, n in enumerate(names)) or f"0 to {count - 1}"
    if channel is None:
        if count == 1:
            return 0, 1
        what = "an RGB picture" if "s" in letters else f"{count} channels"
        message = (
            f"{pages.name}: expected one grey value per pixel, got {what}: {described(pages)}; choose one "
            f"with {asked(pages.name, 'channel')} ({listed}), or save a grey image (in Fiji: Image > Color > "
            "Split Channels)."
        )
        raise CalzooError(message)
    if isinstance(channel, str) and channel in names:
        _refuse_two_meanings(pages, channel, names)
        return names.index(channel), count
    try:
        number = int(channel) if isinstance(channel, (Integral, str)) else count
    except ValueError:
        number = count
    if not -count <= number < count:
        message = f"{pages.name}: no channel {channel!r}: there are {count}, counted from 0 ({listed})."
        raise CalzooError(message)
    return number % count, count


def asked(name, option, value=None):
    """Return how an option is given: to a function for an array, which has no name, else to a command.

    Examples
    --------
    >>> asked("array", "axes", "ZYX"), asked("a.tif", "axes", "ZYX")
    ("axes='ZYX'", '--axes ZYX')
    """
    if name == "array":
        return f"{option}=" + ("" if value is None else repr(value))
    return f"--{option}" + ("" if value is None else f" {value}")


def _refuse_two_meanings(pages, channel, names):
    """Refuse a text that names one channel and counts another, as where they are called "1" and "2"."""
    if not channel.isdecimal() or not int(channel) < len(names) or int(channel) == names.index(channel):
        return
    ways = ", ".join(f"{i - len(names)} {name!r}" for i, name in enumerate(names))
    message = (
        f"{pages.name}: channel {channel!r} is the name of channel {names.index(channel)} and the number of "
        f"{names[int(channel)]!r}; count from the end, with --channel=-1 for the last ({ways})."
    )
    raise CalzooError(message)


def page_numbers(pages, along, fixed):
    """Return the numbers of the pages along one axis.

    Parameters
    ----------
    pages : Pages
        A recording.
    along : str
        Letter of the axis; absent from the recording: the one page.
    fixed : dict of str to int
        Position on each other axis that counts pages.

    Returns
    -------
    numpy.ndarray of int64, shape (n,)
    """
    numbers = (
        np.arange(math.prod(pages.lead_shape), dtype=np.int64) if pages.numbers is None else pages.numbers
    )
    numbers = numbers.reshape(pages.lead_shape)
    index = tuple(slice(None) if a == along else fixed[a] for a in pages.lead_axes)
    return np.atleast_1d(numbers[index])


def fixed_channel(pages, number):
    """Return the positions on the axes c and s that mean channel `number`."""
    letters = [a for a in pages.lead_axes if a in "cs"]
    sizes = [pages.lead_shape[pages.lead_axes.index(a)] for a in letters]
    return (
        dict(zip(letters, (int(i) for i in np.unravel_index(number, sizes)), strict=True)) if letters else {}
    )
