"""ONNX Runtime sessions, tiling and one pipeline per task (light half)."""
