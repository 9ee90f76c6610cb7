"""Evaluation of a checkpoint: predictions, metrics, comparison with the control, report."""
