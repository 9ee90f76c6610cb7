"""A run: from a list of products to published classifications."""
