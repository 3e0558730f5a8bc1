"""How far two computations of one network may differ: the one table that exporter and tests use."""

from types import MappingProxyType

#: Largest difference of an output from Keras' on TensorFlow (float32, CPU), by provider; of outputs that
#: exceed 1, such as logits, in parts of the largest.
#: Sums of some thousand products in another order differ by about 1e-6 where outputs are about 1.
TOLERANCES = MappingProxyType(
    {
        "cpu": 1e-4,
        "openvino": 1e-4,
        # Tensor cores multiply float32 as TF32, with ten bits after the point, unless told otherwise.
        "cuda": 5e-3,
        "tensorrt": 5e-3,
    }
)
