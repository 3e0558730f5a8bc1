"""The network of the axon pipeline: from planes of intensities to planes of classes, as its card says."""

import numpy as np

from calzoo.errors import CalzooError
from calzoo.imaging.growth import AXON, BACKGROUND, BORDER
from calzoo.imaging.resampling import Resampled, SlabReader, resampled_shape
from calzoo.inference import tiling
from calzoo.inference.axes import in_order
from calzoo.inference.models import model_of
from calzoo.inference.progress import progress_bar

_CODES = {"background": BACKGROUND, "axon": AXON, "border": BORDER}
_BATCHES = {"cuda": 4, "tensorrt": 4}  # tiles at once; a processor gains nothing from more than one


class AxonNetwork:
    """A network that tells axons from background.

    Parameters
    ----------
    model : Model
        Of task "axons".

    Raises
    ------
    CalzooError
        If the card is that of another task, or of inputs or classes that are not known here.
    """

    def __init__(self, model):
        self.model, self.card = model, model.card
        self._image, self._probability = _tensors(model)
        names = self._probability.channels or tuple(_CODES)
        self._codes = [_CODES.get(name) for name in names]
        if None in self._codes or AXON not in self._codes:
            message = (
                f"{model.path}: expected the classes {', '.join(_CODES)}, got {', '.join(names)}; "
                "use a network that was exported for axons."
            )
            raise CalzooError(message)
        self._threshold = self.card.postprocessing.get("axon_threshold")

    @classmethod
    def load(cls, model, preset, *, provider, threads):
        """Return the network of a Model, of an .onnx file, or of a preset."""
        return cls(model_of(model, preset, provider=provider, threads=threads))

    def plan(self, shape, factors):
        """Return the tiles for a stack of `shape` (Z, Y, X) that is scaled by `factors` (z, y, x)."""
        return tiling.plan(
            resampled_shape(shape, factors),
            tile=[self.card.tile.get(axis, 64) for axis in "zyx"],
            divisor=[self.card.divisor.get(axis, 1) for axis in "zyx"],
            overlap=self.card.overlap,
        )

    def classes(self, volume, scaling, grid):
        """Yield the class of every voxel, slab by slab.

        Parameters
        ----------
        volume : Volume
        scaling : Scaling
            Of its intensities.
        grid : Grid
            From `plan`; where its shape is not the volume's, the volume is resampled
            to it, and probabilities are resampled back.

        Yields
        ------
        ndarray of uint8, (n, Y, X)
            0 background, 1 axon, 2 border, in the voxels of `volume`; background where nothing was recorded.
        """
        start = 0
        for slab in self._seen(volume, scaling, grid):
            stop = start + len(slab)
            if scaling.padding is not None:  # where nothing was recorded axons seem to go on
                slab[~scaling.recorded(volume.planes(start, stop))] = BACKGROUND
            yield slab
            start = stop

    def _seen(self, volume, scaling, grid):
        """Yield the class of every voxel, slab by slab, also where nothing was recorded."""
        scaled = grid.shape != tuple(volume.shape)
        scale = scaling.apply
        if scaled and scaling.padding is not None:
            # Filled first: between padding and tissue lie no grey values to tell padding by.
            volume, scale = _Scaled(volume, scaling), lambda batch: batch
        source = Resampled(volume, grid.shape) if scaled else volume
        with progress_bar("tile", total=grid.count) as bar:
            slabs = tiling.predict(
                lambda batch: self._run(scale(batch)),
                source.planes,
                grid,
                batch=_BATCHES.get(self.model.provider, 1),
                reduce=None if scaled else self._classify,
                progress=bar.update,
            )
            if not scaled:
                yield from slabs
                return
            # Probabilities, not classes, are brought back: their edges stay smooth.
            back = Resampled(SlabReader(slabs, grid.shape), volume.shape)
            for start in range(0, volume.shape[0], grid.tile[0]):
                yield self._classify(back.planes(start, min(start + grid.tile[0], volume.shape[0])))

    def _run(self, batch):
        """Run the network on (B, z, y, x); return probabilities (B, C, z, y, x)."""
        image = in_order(batch[:, None], "bczyx", self._image.axes)
        result = self.model.run({self._image.name: image})[self._probability.name]
        return in_order(result, self._probability.axes, "bczyx")

    def _classify(self, probability):
        """Return the class of each voxel from probabilities (C, n, y, x): the likeliest.

        With an ``axon_threshold`` in the card, axon is what reaches it, and the
        likeliest of the others the rest.
        """
        if len(probability) != len(self._codes):
            message = (
                f"{self.card.name!r}: expected probabilities of {len(self._codes)} classes, "
                f"got {len(probability)}; export it again."
            )
            raise CalzooError(message)
        best = np.full(probability.shape[1:], -1, np.float32)
        classes = np.zeros(probability.shape[1:], np.uint8)
        for code, layer in zip(self._codes, probability, strict=True):
            if code == AXON and self._threshold is not None:
                continue
            classes[layer > best] = code
            np.maximum(best, layer, out=best)
        if self._threshold is not None:
            classes[probability[self._codes.index(AXON)] >= self._threshold] = AXON
        return classes


class _Scaled:
    """A volume as network input, read like a volume."""

    def __init__(self, volume, scaling):
        self.shape, self._volume, self._scaling = volume.shape, volume, scaling

    def planes(self, start, stop):
        return self._scaling.apply(self._volume.planes(start, stop))


def _tensors(model):
    """Return input and output of a network for axons, or say what is wrong with them."""
    card = model.card
    channels = sum(len(tensor.channels) or 1 for tensor in card.inputs)
    if card.task != "axons" or channels != 1:
        message = (
            f"{model.path}: expected a network for the task 'axons' that sees one channel, got one for "
            f"{card.task!r} that sees {channels}; 'calzoo list' names what there is."
        )
        raise CalzooError(message)
    for tensor in (card.inputs[0], card.outputs[0]):
        if sorted(tensor.axes) != sorted("bczyx"):
            message = (
                f"{model.path}: expected the axes b, c, z, y and x of {tensor.name!r}, got {tensor.axes!r}; "
                "export it again."
            )
            raise CalzooError(message)
    return card.inputs[0], card.outputs[0]
