"""Measurements: `python -m bench.NAME` in the project's folder adds rows to bench/results."""
