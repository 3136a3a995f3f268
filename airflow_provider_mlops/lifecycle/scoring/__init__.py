"""Predictions, metrics and their intervals, which train, tune, evaluate, validate and monitor share."""
