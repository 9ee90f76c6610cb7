"""The MERNet model: computes 25 calibrated class probabilities from a rendering."""
