"""Images as arrays: readers, writers, normalisation, resampling, labels, plots (light half)."""
