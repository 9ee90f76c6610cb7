"""Training, evaluation and discovery: what serving does not need."""
