"""Commands that create data sets, train and evaluate classifiers, and discover novel images."""
