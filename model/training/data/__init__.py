"""Labelled data sets: loading, splitting, sampling, description, labels from volunteers."""
