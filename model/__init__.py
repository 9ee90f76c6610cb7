"""MERNet: renderings in, 25 calibrated class probabilities out."""
