"""Compare our maps with those of tf-explain 0.3.1 and tf-keras-vis on the same Keras network.

    python benchmarks/stimulus_gradcam.py

Both are compared where installed (in an environment of their own): tf-explain with
use_guided_grads=False and a named layer. Prints the largest difference.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np

from calzoo.networks.stimulus import stimulus
from calzoo.training.explain import GradCAM


def network():
    """Return a small network whose biases are all at work."""
    keras.utils.set_random_seed(0)
    model = stimulus(cells=4, filters=(3, 5), hidden=(7,), grid=3)
    rng = np.random.default_rng(0)
    for variable in model.weights:
        if variable.path.endswith("bias"):
            variable.assign(0.3 * rng.normal(size=variable.shape))
    return model


def main():
    model = network()
    frames = np.random.default_rng(1).uniform(0.5, 1.5, (4, 64, 64, 2)).astype(np.float32)
    found = False
    try:
        from tf_explain.core.grad_cam import GradCAM as Theirs

        found = True
        worst = 0.0
        for c in range(5):
            features, gradients = Theirs.get_gradients_and_filters(model, frames, "features", c, False)
            theirs = np.array(Theirs.generate_ponderated_output(features, gradients))
            ours = GradCAM().maps(frames, model, c, "features", relu=False, scale=False)
            worst = max(worst, float(np.abs(theirs - ours).max()))
        print(f"tf-explain: largest difference {worst:.1e}, of maps of magnitude {np.abs(ours).max():.2g}")
    except ImportError as error:
        print(f"tf-explain: not compared ({error})")
    try:
        from tf_keras_vis.gradcam import Gradcam
        from tf_keras_vis.utils.scores import CategoricalScore

        found = True
        explainer, worst = Gradcam(model, clone=False), 0.0
        for c in range(5):
            theirs = [  # one by one: it takes the mean over a batch
                explainer(
                    CategoricalScore([c]),
                    frame[None],
                    penultimate_layer="features",
                    seek_penultimate_conv_layer=False,
                    expand_cam=False,
                    normalize_cam=False,
                )[0]
                for frame in frames
            ]
            ours = GradCAM().maps(frames, model, c, "features", relu=True, scale=False)
            worst = max(worst, float(np.abs(np.asarray(theirs) - ours).max()))
        print(f"tf-keras-vis: largest difference {worst:.1e}")
    except ImportError as error:
        print(f"tf-keras-vis: not compared ({error})")
    return 0 if found else 1


if __name__ == "__main__":
    raise SystemExit(main())
