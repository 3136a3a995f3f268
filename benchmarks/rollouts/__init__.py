"""Benchmarks of the statistics of rollouts: error rates, coverage, and lost rewards."""
