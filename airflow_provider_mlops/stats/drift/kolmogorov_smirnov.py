"""Two-sample Kolmogorov-Smirnov test on binned counts."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from airflow_provider_mlops.stats.drift.counts import validate_count_pair
from airflow_provider_mlops.stats.drift.result import DriftTestResult


def kolmogorov_smirnov_test(
    reference_counts: ArrayLike, current_counts: ArrayLike, *, false_alarm_rate: float = 0.01
) -> DriftTestResult:
    r"""Test whether two histograms over the same ordered bins come from one distribution.

    .. math:: D = \max_i |F_i - G_i|, \qquad P(D \ge d) \approx P(D_{n'} \ge d), \quad n' = \frac{mn}{m+n}

    where :math:`F, G` are the cumulative proportions. The null distribution is Kolmogorov's for one sample of the
    effective size :math:`n'`, as in SciPy's `ks_2samp`. Smirnov (1948), *Table for estimating the goodness of fit of
    empirical distributions*, Annals of Mathematical Statistics 19(2).

    Binning can only make D smaller, so the p value of binned rows is too large rather than too small: the test is
    conservative, and more so with fewer bins. With one bin for each value it is the test of the raw values. Use it for
    shifts of an ordered feature; it hardly sees changes far out in the tails.

    Parameters
    ----------
    reference_counts, current_counts
        Counts in ordered bins, shape `(bins,)`, including the rows below and above.
    false_alarm_rate
        Largest probability that the statistic exceeds the returned threshold without drift.

    Returns
    -------
    DriftTestResult
        Its statistic and effect are D. If a sample has no rows, the p value is 1 and the threshold infinite.

    Examples
    --------
    >>> test = kolmogorov_smirnov_test([250, 250, 250, 250], [5, 10, 15, 20])
    >>> round(test.statistic, 3), round(test.p_value, 3), test.drifted
    (0.2, 0.037, False)
    """
    reference, current = validate_count_pair(reference_counts, current_counts)
    reference_rows, current_rows = int(reference.sum()), int(current.sum())
    if not reference_rows or not current_rows:
        return DriftTestResult.not_comparable(reference_rows, current_rows, false_alarm_rate)
    distance = float(np.max(np.abs(np.cumsum(reference) / reference_rows - np.cumsum(current) / current_rows)))
    effective = _effective_rows(reference_rows, current_rows)
    return DriftTestResult(
        statistic=distance,
        p_value=float(stats.kstwo.sf(distance, effective)),
        threshold=_threshold(false_alarm_rate, effective),
        effect=distance,
        degrees_of_freedom=0,
        reference_rows=reference_rows,
        current_rows=current_rows,
        false_alarm_rate=false_alarm_rate,
    )


def _effective_rows(reference_rows: int, current_rows: int) -> int:
    return max(1, round(reference_rows * current_rows / (reference_rows + current_rows)))


@functools.lru_cache(maxsize=1024)
def _threshold(false_alarm_rate: float, effective_rows: int) -> float:
    # Inverting Kolmogorov's distribution takes tens of milliseconds, and all features of a table have the same rows.
    return float(stats.kstwo.isf(false_alarm_rate, effective_rows))
