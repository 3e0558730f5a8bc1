"""What is drawn to vary samples, of every task."""

import numpy as np


def draw_factor(rng, change):
    """Draw a factor whose logarithm is uniform, from 1 / (1 + change) to 1 + change."""
    reach = np.log1p(change)
    return float(np.exp(rng.uniform(-reach, reach)))
