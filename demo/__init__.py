"""The demo: drawn scenes, a sample archive and a data set with known truth, and the tour."""
