"""What networks that halve their pictures ask of the sides of these."""


def check_divisible(caller, shape, by, *, sides="rows and columns", what="pictures"):
    """Refuse fixed sides that cannot be halved as often as a network does.

    Parameters
    ----------
    caller : str
        Name of the builder, for the message.
    shape : tuple of (int or None)
        Sides in pixels; None is any.
    by : int or tuple of int
        What each side must be a multiple of.
    sides, what : str, optional
        What the sides are called, and what has them.

    Raises
    ------
    ValueError
        If a side is no multiple.
    """
    steps = by if isinstance(by, tuple) else (by,) * len(shape)
    larger = tuple(side and -(-side // step) * step for side, step in zip(shape, steps, strict=True))
    if larger != tuple(shape):
        message = (
            f"{caller}: {sides} must be multiples of {by}, got shape={tuple(shape)}. Pad the {what} to "
            f"{larger}, or build the network with shape={(None,) * len(shape)} and pad at run time."
        )
        raise ValueError(message)
