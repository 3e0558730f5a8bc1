"""One piece of a mask that is in several."""

import numpy as np
from scipy import ndimage


def one_piece(mask, middle):
    """Return the component of a mask (Y, X) that lies nearest to `middle` (y, x), its holes filled."""
    labels, count = ndimage.label(mask)
    if count > 1:
        places = np.argwhere(mask)
        y, x = places[((places - middle) ** 2).sum(axis=1).argmin()]
        mask = labels == labels[y, x]
    return ndimage.binary_fill_holes(mask) if count else mask
