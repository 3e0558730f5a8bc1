"""Grad-CAM of any Keras classifier, in the manner of tf-explain.

::

    from calzoo.training.explain import GradCAM

    grid = GradCAM().explain((frames, None), model, class_index=3, layer_name="features")
    GradCAM().save(grid, "maps", "cell4.png")
"""

import math
from pathlib import Path

import keras
import numpy as np

from calzoo.errors import CalzooError
from calzoo.training.gradients import layer_gradient


class GradCAM:
    """Maps of what speaks for a class: feature maps weighted by their mean gradient [1]_.

    References
    ----------
    .. [1] Selvaraju et al., "Grad-CAM", ICCV 2017. arXiv:1610.02391
    """

    def explain(
        self,
        validation_data,
        model,
        class_index,
        layer_name=None,
        use_guided_grads=False,
        colormap="viridis",
        image_weight=0.7,
    ):
        """Draw the maps of some pictures over them.

        Parameters
        ----------
        validation_data : tuple
            Pictures (N, Y, X, C) and anything.
        model : keras.Model
            Of one input and one output (N, K).
        class_index : int
        layer_name : str, optional
            Whose output the maps are made of; by default the last one of four axes.
        use_guided_grads : bool, optional
            Whether only features and gradients above 0 count.
        colormap : str, optional
            Of matplotlib.
        image_weight : float, optional
            How strongly the pictures are seen.

        Returns
        -------
        ndarray of uint8, (rows * Y, columns * X, 3)
            As square a grid as there is.
        """
        from matplotlib import colormaps

        pictures = np.asarray(validation_data[0])
        maps = self.maps(pictures, model, class_index, layer_name, use_guided_grads, relu=False)
        tiles = []
        for picture, cam in zip(pictures, maps, strict=True):
            colours = np.floor(255 * cam).astype(np.uint8)
            colours = (255 * colormaps[colormap](colours)[..., :3]).round()
            tiles.append(np.clip(image_weight * _colours(picture) + colours, 0, 255).round().astype(np.uint8))
        return _grid(tiles)

    def maps(
        self, pictures, model, class_index, layer_name=None, use_guided_grads=False, *, relu=True, scale=True
    ):
        """Return the maps themselves.

        Parameters
        ----------
        pictures : ndarray, (N, Y, X, C)
        model, class_index, layer_name, use_guided_grads
            As for `explain`; `class_index` may be one for each picture.
        relu : bool, optional
            Whether what speaks against the class is 0, as published; tf-explain keeps it.
        scale : bool, optional
            Enlarge to (Y, X) and bring each map to 0 to 1.

        Returns
        -------
        ndarray of float32, (N, Y, X), or that of the layer without `scale`
        """
        layer = _layer(model, layer_name)
        features, gradients = layer_gradient(model, layer, np.asarray(pictures, np.float32), class_index)
        if use_guided_grads:
            gradients = np.where((features > 0) & (gradients > 0), gradients, 0)
        maps = (gradients.mean(axis=(1, 2), keepdims=True) * features).sum(axis=-1)
        maps = np.maximum(maps, 0) if relu else maps
        return _scaled(maps, pictures.shape[1:3]) if scale else maps

    def save(self, grid, output_dir, output_name):
        """Write a grid as a picture.

        Parameters
        ----------
        grid : ndarray of uint8
            From `explain`.
        output_dir : path-like
            Made where it is not there.
        output_name : str
        """
        from PIL import Image

        Path(output_dir).mkdir(parents=True, exist_ok=True)
        Image.fromarray(grid).save(Path(output_dir) / output_name)


class GradCAMCallback(keras.callbacks.Callback):
    """Write a grid of maps after each epoch of `keras.Model.fit`: ``epoch_001.png``, ...

    Parameters
    ----------
    validation_data, class_index, layer_name
        As for `GradCAM.explain`.
    output_dir : path-like
    """

    def __init__(self, validation_data, class_index, layer_name=None, output_dir="maps"):
        super().__init__()
        self.validation_data, self.class_index = validation_data, class_index
        self.layer_name, self.output_dir = layer_name, output_dir

    def on_epoch_end(self, epoch, logs=None):
        """Draw and write."""
        explainer = GradCAM()
        grid = explainer.explain(self.validation_data, self.model, self.class_index, self.layer_name)
        explainer.save(grid, self.output_dir, f"epoch_{epoch + 1:03d}.png")


def _layer(model, name):
    fitting = [layer.name for layer in model.layers if len(getattr(layer.output, "shape", ())) == 4]
    if name is None and fitting:
        return fitting[-1]
    if name not in fitting:
        message = (
            f"expected the name of a layer with feature maps, got {name!r}; there are {', '.join(fitting)}."
        )
        raise CalzooError(message)
    return name


def _scaled(maps, shape):
    big = keras.ops.image.resize(maps[..., None].astype(np.float32), tuple(shape), interpolation="bilinear")
    big = keras.ops.convert_to_numpy(big)[..., 0]
    low = big.min(axis=(1, 2), keepdims=True)
    return (big - low) / np.maximum(big.max(axis=(1, 2), keepdims=True) - low, 1e-12)


def _colours(picture):
    """Return a picture (Y, X, C) as RGB, 0 to 255; other than three channels: the first one, grey."""
    picture = picture if picture.shape[-1] == 3 else np.repeat(picture[..., :1], 3, axis=-1)
    if picture.dtype == np.uint8 or picture.max() > 1:
        return picture.astype(np.float32)
    return 255 * picture.astype(np.float32)


def _grid(tiles):
    columns = math.ceil(math.sqrt(len(tiles)))
    rows = math.ceil(len(tiles) / columns)
    blank = [np.zeros_like(tiles[0])] * (rows * columns - len(tiles))
    listed = [*tiles, *blank]
    return np.vstack([np.hstack(listed[r * columns : (r + 1) * columns]) for r in range(rows)])
