"""Names and hashes in the fingerprint of a run, by which its data are known again."""

import hashlib

import numpy as np


def numbered(named):
    """Return a dict in which names that come again are numbered.

    Parameters
    ----------
    named : iterable of (str, object)

    Returns
    -------
    dict of str to object

    Examples
    --------
    >>> numbered([("own/a", 1), ("own/b", 2), ("own/a", 3)])
    {'own/a': 1, 'own/b': 2, 'own/a (2)': 3}
    """
    found = {}
    for name, value in named:
        key, number = name, 1
        while key in found:
            number += 1
            key = f"{name} ({number})"
        found[key] = value
    return found


def digest(*arrays):
    """Return the SHA-256 of the values of arrays in C order, one after the other."""
    content = hashlib.sha256()
    for array in arrays:
        content.update(np.ascontiguousarray(array).tobytes())
    return content.hexdigest()
