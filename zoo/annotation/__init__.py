"""Tools that make ground truth (light half)."""
