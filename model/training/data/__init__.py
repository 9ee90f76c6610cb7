"""Labelled data sets: loading, splitting, sampling, volunteers' labels, description."""
