"""Simulated recordings with their ground truth, NumPy and SciPy only (light half)."""
