"""Scores of segmentations, detections, motion and maps (light half)."""
