"""Predictions: from a request's path and body to its response, with batches, shadows and the log."""
