"""Progress of long work on a terminal, and nothing elsewhere."""

import sys


def counted(pieces, total, done=0, unit="frame"):
    """Yield pieces and show how many frames they make up.

    Parameters
    ----------
    pieces : iterable
        Each has ``found.flow``, as long as it has frames.
    total, done : int
        Frames in all, and finished before.
    unit : str, optional
    """
    if sys.stderr is None or not sys.stderr.isatty():
        yield from pieces
        return
    from tqdm import tqdm

    with tqdm(total=total, initial=done, unit=unit, file=sys.stderr, leave=False) as bar:
        for piece in pieces:
            yield piece
            bar.update(len(piece.found.flow))
