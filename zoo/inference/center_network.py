"""The network of the centres: from windows of a movie to heat maps, as its card says."""

import numpy as np

from calzoo.errors import CalzooError
from calzoo.imaging.center_channels import CELL_PX, CHANNELS, grid_for, window_channels
from calzoo.imaging.center_peaks import local_maxima
from calzoo.inference.models import model_of

#: What the network says of each pixel.
OUTPUTS = ("center", "body", "radius")
_GUESSES_PX = (10.0, 6.0, 16.0, 28.0)  # diameters that an unknown movie is tried with
_ENOUGH = 3  # cells that tell the diameter


class CenterNetwork:
    """A network that sees windows of a movie and says where centres are.

    Parameters
    ----------
    model : Model
        Of task "centers".

    Raises
    ------
    CalzooError
        If the card is that of another task, or of pictures that are not known here.
    """

    def __init__(self, model):
        self.model, self.card, self.provider = model, model.card, model.provider
        pictures, heat = self.card.inputs[0], self.card.outputs[0]
        if self.card.task != "centers":
            message = (
                f"{model.path}: expected a network for the task 'centers', got one for {self.card.task!r}; "
                "'calzoo list' names what there is."
            )
            raise CalzooError(message)
        scale = self.card.scale.get("cell_diameter_px", CELL_PX)
        known = pictures.channels == CHANNELS and heat.channels == OUTPUTS and scale == CELL_PX
        if not known or {pictures.axes, heat.axes} != {"bcyx"}:
            message = (
                f"{model.path}: expected the pictures {', '.join(CHANNELS)} of cells {CELL_PX:g} pixels wide "
                f"and the outputs {', '.join(OUTPUTS)} (axes bcyx), got another card; export the network "
                "again with this version, or install the one that it was made for."
            )
            raise CalzooError(message)
        settings = self.card.postprocessing
        self.threshold = float(settings.get("threshold", 0.3))
        self.apart = float(settings.get("apart_diameters", 0.5))
        self.window = int(settings.get("window_frames", 200))

    @classmethod
    def load(cls, model, preset, *, provider, threads):
        """Return the network of a Model, of an .onnx file, or of a preset; a network itself as it is."""
        if isinstance(model, CenterNetwork):
            return model
        return cls(model_of(model, preset, provider=provider, threads=threads))

    def heat(self, pictures):
        """Return the heat map (h, w, 3) of the pictures (h, w, C) of a window."""
        height, width = pictures.shape[:2]
        pads = [
            (0, -side % self.card.divisor.get(axis, 1))
            for side, axis in zip((height, width), "yx", strict=True)
        ]
        # A side may be shorter than what is missing: mirrored as often as needed.
        padded = np.pad(pictures, [*pads, (0, 0)], mode="symmetric")
        image = np.ascontiguousarray(padded.transpose(2, 0, 1)[None], dtype=np.float32)
        name, result = self.card.inputs[0].name, self.card.outputs[0].name
        return self.model.run({name: image})[result][0].transpose(1, 2, 0)[:height, :width]

    def spans(self, count):
        """Return first and last + 1 frame of windows that cover `count` frames, all about equally long."""
        number = max(round(count / self.window), 1)
        ends = np.linspace(0, count, number + 1).round().astype(int)
        return list(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True))

    def measured_diameter(self, movie, *, threads=2, aspect=(1.0, 1.0)):
        """Measure how wide the cells of a movie are, by what the network sees in its first frames.

        Parameters
        ----------
        movie : movie
        threads : int, optional
        aspect : tuple of float, optional
            Sides of a pixel over their geometric mean, (y, x).

        Returns
        -------
        float
            In pixels; `_GUESSES_PX[0]` where fewer than three cells are seen.
        """
        stop = self.spans(movie.shape[0])[0][1]
        limit = 0.5 * max(np.multiply(movie.shape[1:], aspect).tolist())
        guesses = [g for g in _GUESSES_PX if g <= limit] or [max(limit, 2.0)]
        looks = []
        for guess in guesses:
            grid = grid_for(movie.shape[1:], guess, aspect)
            looks.append((guess, *self._radii(movie, grid, stop, threads)))
            if len(looks[-1][1]) >= 4 * _ENOUGH:
                break
        diameter, radii, scores = max(looks, key=lambda look: look[2].sum())
        for _ in range(2):
            if len(radii) < _ENOUGH:
                return guesses[0]
            factor = _weighted_median(radii, scores) / (0.5 * CELL_PX)
            diameter = float(np.clip(diameter * factor, 2.0, limit))
            if abs(np.log(factor)) < 0.1:
                break
            grid = grid_for(movie.shape[1:], diameter, aspect)
            radii, scores = self._radii(movie, grid, stop, threads)
        return diameter

    def _radii(self, movie, grid, stop, threads):
        """Return radii in pixels of the grid, and scores, of the cells of the first window."""
        heat = self.heat(window_channels(movie, grid, 0, stop, threads=threads))
        points = local_maxima(heat[..., 0], distance=self.apart * CELL_PX, threshold=self.threshold)
        seen = heat[tuple(points.T)]
        return seen[:, 2], seen[:, 0]


def _weighted_median(values, weights):
    order = np.argsort(values)
    share = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(share, 0.5 * share[-1])])
