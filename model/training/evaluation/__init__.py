"""Evaluation of a checkpoint: predictions, metrics, comparison, report."""
