"""Discovery of new classes: images ranked by novelty."""
