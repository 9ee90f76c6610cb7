"""Commands that make data sets and train, calibrate and evaluate classifiers."""
