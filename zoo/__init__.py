"""Trained networks for calcium imaging, run by ONNX Runtime without TensorFlow.

The names below are imported when they are first used, so that ``import calzoo``
costs next to nothing.
"""

import importlib

if __name__ != "calzoo":
    _MESSAGE = (
        f"this folder is the package 'calzoo', but it was imported as {__name__!r}. "
        "Install the project (pip install -e .) and write 'import calzoo'."
    )
    raise ImportError(_MESSAGE)

__version__ = "0.1.0"

_WHERE = {
    "AxonSegmentation": "calzoo.inference.axons",
    "CalzooError": "calzoo.errors",
    "CellDetection": "calzoo.inference.cells",
    "Centers": "calzoo.inference.centers",
    "Explanation": "calzoo.inference.explain",
    "Masks": "calzoo.imaging.masks",
    "Model": "calzoo.inference.models",
    "Movie": "calzoo.imaging.movies",
    "Registered": "calzoo.inference.registration",
    "Registrar": "calzoo.inference.registration",
    "Registration": "calzoo.inference.registration",
    "Stimuli": "calzoo.imaging.stimuli",
    "StimulusAnalysis": "calzoo.stimulus.analysis",
    "StimulusComparison": "calzoo.stimulus.comparison",
    "StimulusDecoding": "calzoo.inference.stimulus",
    "SummaryImages": "calzoo.imaging.summary",
    "Traces": "calzoo.imaging.traces",
    "Volume": "calzoo.imaging.images",
    "analyse_stimuli": "calzoo.stimulus.analysis",
    "compare_analyses": "calzoo.stimulus.comparison",
    "decode_stimuli": "calzoo.inference.stimulus",
    "explain": "calzoo.inference.explain",
    "find_cells": "calzoo.inference.cells",
    "find_centers": "calzoo.inference.centers",
    "load_model": "calzoo.inference.models",
    "open_movie": "calzoo.imaging.movies",
    "open_volume": "calzoo.imaging.images",
    "read_masks": "calzoo.imaging.masks",
    "read_stimuli": "calzoo.imaging.stimuli",
    "register_movie": "calzoo.inference.registration",
    "segment_axons": "calzoo.inference.axons",
    "summary_images": "calzoo.imaging.summary",
    "write_movie": "calzoo.imaging.writers",
}

__all__ = ["__version__", *sorted(_WHERE)]

# Editors and type checkers take this as true, and know the names without `typing` being imported.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from calzoo.errors import CalzooError as CalzooError
    from calzoo.imaging.images import Volume as Volume
    from calzoo.imaging.images import open_volume as open_volume
    from calzoo.imaging.masks import Masks as Masks
    from calzoo.imaging.masks import read_masks as read_masks
    from calzoo.imaging.movies import Movie as Movie
    from calzoo.imaging.movies import open_movie as open_movie
    from calzoo.imaging.stimuli import Stimuli as Stimuli
    from calzoo.imaging.stimuli import read_stimuli as read_stimuli
    from calzoo.imaging.summary import SummaryImages as SummaryImages
    from calzoo.imaging.summary import summary_images as summary_images
    from calzoo.imaging.traces import Traces as Traces
    from calzoo.imaging.writers import write_movie as write_movie
    from calzoo.inference.axons import AxonSegmentation as AxonSegmentation
    from calzoo.inference.axons import segment_axons as segment_axons
    from calzoo.inference.cells import CellDetection as CellDetection
    from calzoo.inference.cells import find_cells as find_cells
    from calzoo.inference.centers import Centers as Centers
    from calzoo.inference.centers import find_centers as find_centers
    from calzoo.inference.explain import Explanation as Explanation
    from calzoo.inference.explain import explain as explain
    from calzoo.inference.models import Model as Model
    from calzoo.inference.models import load_model as load_model
    from calzoo.inference.registration import Registered as Registered
    from calzoo.inference.registration import Registrar as Registrar
    from calzoo.inference.registration import Registration as Registration
    from calzoo.inference.registration import register_movie as register_movie
    from calzoo.inference.stimulus import StimulusDecoding as StimulusDecoding
    from calzoo.inference.stimulus import decode_stimuli as decode_stimuli
    from calzoo.stimulus.analysis import StimulusAnalysis as StimulusAnalysis
    from calzoo.stimulus.analysis import analyse_stimuli as analyse_stimuli
    from calzoo.stimulus.comparison import StimulusComparison as StimulusComparison
    from calzoo.stimulus.comparison import compare_analyses as compare_analyses
else:

    def __getattr__(name):
        """Import a public name from the module that defines it."""
        if name not in _WHERE:
            message = f"module 'calzoo' has no attribute {name!r}"
            raise AttributeError(message)
        value = getattr(importlib.import_module(_WHERE[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted(__all__)
