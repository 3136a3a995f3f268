"""Confidence sequences: intervals that stay valid however often you look at them.

`rate`, `rate_difference`, `mean`, `bounded_mean`, `latency` and `drift` compute the intervals. `compare_rates`,
`compare_means` and `compare_drift` turn them into the verdict of a gate, by the rules of `comparison`. `sample_size`
plans an A/B test, and `prior_observations` tunes a sequence for the sample that is expected.
"""
