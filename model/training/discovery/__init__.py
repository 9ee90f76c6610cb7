"""Discovery of new classes: ranks images by novelty."""
