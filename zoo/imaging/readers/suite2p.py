"""Suite2p's data.bin: bare int16 frames, whose size stands in a file beside them."""

import pickletools

from calzoo.errors import CalzooError
from calzoo.imaging.readers.pages import Facts, RawPages

_BYTES = 2
_KEYS = ("Ly", "Lx", "fs")
_NUMBERS = ("BININT", "BININT1", "BININT2", "INT", "LONG1", "BINFLOAT", "FLOAT")


def open_binary(path, frame_shape=None):
    """Open Suite2p's registered movie.

    Parameters
    ----------
    path : pathlib.Path
        ``data.bin``, or another file of bare int16 frames.
    frame_shape : tuple of int, optional
        Height and width in pixels; without it they are looked for in ops.npy.

    Returns
    -------
    RawPages
    """
    ops = {} if frame_shape is not None else read_ops(path.with_name("ops.npy"))
    if frame_shape is None and not {"Ly", "Lx"} <= ops.keys():
        message = (
            f"{path}: bare numbers without a header: their height and width (Ly, Lx) were looked for in "
            "ops.npy beside the file and not found; pass --frame-shape HEIGHT,WIDTH."
        )
        raise CalzooError(message)
    height, width = (int(n) for n in (frame_shape or (ops["Ly"], ops["Lx"])))
    size = path.stat().st_size
    frames, rest = divmod(size, max(height * width, 1) * _BYTES)
    if height < 1 or width < 1 or rest or not frames:
        message = (
            f"{path}: {size} bytes are no whole number of int16 frames of {height} x {width}: the file is "
            "truncated, or its frames have another size; pass --frame-shape HEIGHT,WIDTH."
        )
        raise CalzooError(message)
    rate = ops.get("fs")
    facts = Facts(frame_rate_hz=float(rate) if rate else None, is_stack=True)
    return RawPages(path, "tyx", (frames, height, width), "<i2", 0, facts)


def read_ops(path):
    """Read the frame's size and rate from Suite2p's ops.npy.

    The file is a pickle, and to unpickle is to run what it says. Its instructions
    are therefore only listed, and the few plain numbers wanted picked out.

    Parameters
    ----------
    path : pathlib.Path
        The file; missing or foreign files hold nothing.

    Returns
    -------
    dict of str to (int or float)
        Those of "Ly", "Lx" and "fs" that were found.
    """
    found, memo, key, last = {}, [], None, None
    try:
        content = path.read_bytes()
        start = content.index(b"\n") + 1
        for opcode, argument, _ in pickletools.genops(content[start:]):
            name = opcode.name
            if name in ("BINPUT", "LONG_BINPUT", "MEMOIZE", "PUT"):
                memo.append(last)
                continue
            if name in ("BINGET", "LONG_BINGET", "GET"):
                argument = memo[int(argument)]
            if key and name in _NUMBERS:
                found.setdefault(key, argument)
            last = argument
            key = argument if isinstance(argument, str) and argument in _KEYS else None
    # Whatever is no such pickle holds nothing for us.
    except Exception:
        return found
    return found
