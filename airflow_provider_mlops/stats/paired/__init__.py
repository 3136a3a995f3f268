"""Comparisons of two models on the same rows.

`delong` compares areas under ROC curves, `mcnemar` compares accuracies, and `loss_tests` compares losses of rows.
`non_inferiority` compares any metric that was resampled with `intervals.bootstrap`, and allows a margin.
"""
