"""Tests of whether two samples of a feature come from the same distribution, computed from counts.

Start at `detect`: it gives each feature of a table a verdict. Its parts are `feature_counts` (the input),
`feature_tests` (the tests of one feature), `multiple_testing` and `report` (the result). `psi`, `chi_square`,
`kolmogorov_smirnov` and `wasserstein` are single measures; `sample_size` says how many rows they need. Drift between
the arms of a running rollout is in `sequences.drift`.
"""
