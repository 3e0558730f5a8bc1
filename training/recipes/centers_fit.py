"""The recipe of ``calzoo train centers --movie``: coordinates that settle on the cells of one recording."""

from dataclasses import dataclass

from calzoo.errors import CalzooError

STARTS = ("summits", "random", "grid")


@dataclass(frozen=True, kw_only=True)
class CentersFitRecipe:
    """Everything that decides how a recording is fitted; no label is used.

    Lengths are pixels of the grid on which a cell is 8 wide.

    Attributes
    ----------
    name : str
    seed : int
        Of where coordinates begin, and of the frames of each step.
    count : int
        Coordinates; 0: as many as there are summits above the noise, at most one for each
        square of `densest`.
    start : str
        Where coordinates begin: on "summits" of the highest level over time, at "random", on a "grid".
    frames : int
        Frames that are fitted: those with most activity.
    steps, batch : int
        Steps of the fit, and frames in each.
    learning_rate : float
        Of Adam, in pixels.
    sigma, last_sigma : float
        Standard deviation of a spot at first, and from half of the steps on: wide spots feel far.
    repulsion, repulsion_radius, sparsity : float
        See `calzoo.networks.centers_splats.Splats`.
    blur : float
        Standard deviation of a Gaussian that input and reconstruction are blurred with in the loss; 0: none.
    rise, asymmetry : float
        Standard deviations of the noise that a cell must once rise above, and how much farther than it sinks.
    alone : float
        Least part of its own light that no other spot can explain.
    merge : float
        Spots nearer than this are one cell.
    densest : float
        Side of the square that a cell takes at least.
    leash : float
        How far coordinates that a trained network gave may move, along each axis: far enough to reach
        the middle of the light, too near to go to another cell.
    sure : float
        Cells to which that network gives at least this score are not pruned.
    """

    name: str = "centers-fit"
    seed: int = 0
    count: int = 0
    start: str = "summits"
    frames: int = 600
    steps: int = 600
    batch: int = 24
    learning_rate: float = 0.08
    sigma: float = 3.5
    last_sigma: float = 2.2
    repulsion: float = 0.05
    repulsion_radius: float = 5.0
    sparsity: float = 1e-3
    blur: float = 0.0
    rise: float = 5.0
    asymmetry: float = 1.5
    alone: float = 0.1
    merge: float = 4.0
    densest: float = 7.0
    leash: float = 2.0
    sure: float = 0.4

    def __post_init__(self):
        if self.start not in STARTS:
            message = f"centers-fit: start must be one of {', '.join(STARTS)}, got {self.start!r}."
            raise CalzooError(message)
        for name in ("frames", "steps", "batch"):
            if getattr(self, name) < 1:
                message = f"centers-fit: {name} must be at least 1, got {getattr(self, name)}."
                raise CalzooError(message)
        if self.count < 0:
            message = f"centers-fit: count must be 0 (as many as are seen) or more, got {self.count}."
            raise CalzooError(message)
