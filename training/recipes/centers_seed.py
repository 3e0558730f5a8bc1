"""The recipe of the authors of the centre finder, its defects mended, to be compared with."""

from dataclasses import dataclass

from calzoo.errors import CalzooError

RENDERS = ("one-hot", "smeared", "squares")


@dataclass(frozen=True, kw_only=True)
class CentersSeedRecipe:
    """Everything that decides how the authors' networks are fitted to a recording.

    Attributes
    ----------
    name : str
    seed : int
        Of the first weights and coordinates, and of the frames of each step.
    side : int
        Frames are resampled to so many pixels squared.
    count : int
        Coordinates.
    render : str
        What the renderer learns to draw before the fit: "one-hot" pixels, "smeared" blobs or "squares".
    render_size : float
        Standard deviation of a blob, or side of a square, in pixels.
    render_steps : int
        Batches of 32 coordinates.
    margin : int
        Pixels along the border where the renderer is not trained.
    steps, batch : int
        Steps of the fit, and frames in each.
    learning_rate, coordinate_rate : float
        Of the networks, and of the coordinates in pixels.
    sparsity : float
        Weight of the cross-entropy between heat map and what the coordinates render.
    sparsity_threshold : float
        Rendered values below it count as nothing there.
    blur : float
        Standard deviation of a Gaussian that input and reconstruction are blurred with in the loss; 0: none.
    black_white : float
        Weight of the distance of each heat from 0 or 1, whichever is nearer.
    """

    name: str = "centers-seed"
    seed: int = 0
    side: int = 100
    count: int = 100
    render: str = "one-hot"
    render_size: float = 1.5
    render_steps: int = 2000
    margin: int = 4
    steps: int = 2000
    batch: int = 8
    learning_rate: float = 1e-3
    coordinate_rate: float = 0.1
    sparsity: float = 0.1
    sparsity_threshold: float = 0.3
    blur: float = 0.0
    black_white: float = 0.0

    def __post_init__(self):
        if self.render not in RENDERS:
            message = f"centers-seed: render must be one of {', '.join(RENDERS)}, got {self.render!r}."
            raise CalzooError(message)
        if self.side % 4 or self.side < 2 * self.margin + 4:
            message = (
                f"centers-seed: side must be a multiple of 4 and leave 4 pixels within the margin "
                f"{self.margin}, got {self.side}."
            )
            raise CalzooError(message)
