"""Confidence intervals for proportions, means and arbitrary metrics."""
