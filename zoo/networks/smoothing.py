"""Smoothing of what was measured on a grid: planes through the neighbours of each cell."""

import keras
from keras import layers, ops

#: Square of a distance in cells: what keeps planes through too few cells flat.
FLAT = 1e-3


@keras.saving.register_keras_serializable(package="calzoo")
class LocalPlane(layers.Layer):
    """Fit a plane to the cells around each cell, and return its height there: local linear regression.

    Call it with values, (B, h, w, C), and the weight of each cell, (B, h, w, 1), above 0. Weights count
    the less, the farther a cell is away, along a Gaussian. A weighted mean would draw values towards
    those of the side where more is known, or where the grid goes on; a plane does not [1]_.

    Parameters
    ----------
    sigma : float
        Standard deviation of the Gaussian, in cells.

    References
    ----------
    .. [1] Hastie and Loader, "Local regression: automatic kernel carpentry", Statistical Science
       1993. doi:10.1214/ss/1177011002
    """

    def __init__(self, sigma, **kwargs):
        super().__init__(**kwargs)
        self.sigma = float(sigma)

    def call(self, values, weights):
        """Return the heights, (B, h, w, C)."""
        height, width = ops.shape(values)[1:3]
        rows, columns = _moments(height, self.sigma), _moments(width, self.sigma)
        known = ops.transpose(ops.concatenate([weights, weights * values], axis=-1), (0, 3, 1, 2))
        down = [ops.matmul(moment, known) for moment in rows]
        alone = [part[:, :1] for part in down]
        across = [ops.transpose(moment) for moment in columns]
        whole, along_y, along_x = (ops.matmul(down[y], across[x]) for y, x in ((0, 0), (1, 0), (0, 1)))
        share = 1 / whole[:, :1]
        mean, product_y, product_x = (m[:, 1:] * share for m in (whole, along_y, along_x))
        mean_y, mean_x = along_y[:, :1] * share, along_x[:, :1] * share
        yy, yx, xx = (ops.matmul(alone[y], across[x]) * share for y, x in ((2, 0), (1, 1), (0, 2)))
        yy, yx, xx = yy - mean_y * mean_y + FLAT, yx - mean_y * mean_x, xx - mean_x * mean_x + FLAT
        product_y, product_x = product_y - mean * mean_y, product_x - mean * mean_x
        scale = 1 / (yy * xx - yx * yx)
        slope_y, slope_x = (
            (xx * product_y - yx * product_x) * scale,
            (yy * product_x - yx * product_y) * scale,
        )
        return ops.transpose(mean - slope_y * mean_y - slope_x * mean_x, (0, 2, 3, 1))

    def compute_output_shape(self, values_shape, weights_shape):
        """Return the shape of the result."""
        return values_shape

    def get_config(self):
        """Return the arguments."""
        return super().get_config() | {"sigma": self.sigma}


def _moments(size, sigma):
    """Return matrices (size, size): the Gaussian of the distance, times distance^0, 1 and 2."""
    places = ops.cast(ops.arange(size), "float32")
    away = places[None, :] - places[:, None]
    gaussian = ops.exp(away * away * (-0.5 / sigma**2))
    return gaussian, gaussian * away, gaussian * away * away
