"""Data validation: check a dataset against a Great Expectations suite."""
