"""Synthetic datasets for the docs, the examples and the demo."""
