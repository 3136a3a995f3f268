"""The two-sample Kolmogorov-Smirnov test, on binned counts and on raw values."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from airflow_provider_mlops.stats.drift.counts import count_pair
from airflow_provider_mlops.stats.drift.result import DriftTest


def kolmogorov_smirnov_test(
    reference_counts: ArrayLike, current_counts: ArrayLike, *, false_alarm_rate: float = 0.01
) -> DriftTest:
    r"""Test whether two histograms over the same ordered bins come from one distribution.

    .. math:: D = \max_i |F_i - G_i|, \qquad P(D \ge d) \approx P(D_{n'} \ge d), \quad n' = \frac{mn}{m+n}

    with :math:`F, G` the cumulated shares. The null distribution is Kolmogorov's for one sample of the effective
    size :math:`n'`, as in SciPy's `ks_2samp`. Smirnov (1948), *Table for estimating the goodness of fit of empirical
    distributions*, Annals of Mathematical Statistics 19(2).

    Binning can only lower D, never raise it, so the p value of binned rows is too large rather than too small: the
    test is conservative, the more so the fewer bins there are. With one bin for each value it is the test of raw
    values. Use it for a shift of an ordered feature; it is nearly blind to changes far out in the tails.

    Parameters
    ----------
    reference_counts, current_counts
        Counts in ordered bins, of shape `(bins,)`, including the rows below and above.
    false_alarm_rate
        Rate at which the returned threshold is crossed at most.

    Returns
    -------
    `DriftTest` with D as statistic and effect. Without rows on a side: p value 1 and an infinite threshold.

    >>> test = kolmogorov_smirnov_test([250, 250, 250, 250], [5, 10, 15, 20])
    >>> round(test.statistic, 3), round(test.p_value, 3), test.drifted
    (0.2, 0.037, False)
    """
    reference, current = count_pair(reference_counts, current_counts)
    reference_rows, current_rows = int(reference.sum()), int(current.sum())
    if not reference_rows or not current_rows:
        return DriftTest.of_nothing(reference_rows, current_rows, false_alarm_rate)
    distance = float(np.max(np.abs(np.cumsum(reference) / reference_rows - np.cumsum(current) / current_rows)))
    effective = _effective_rows(reference_rows, current_rows)
    return DriftTest(
        statistic=distance,
        p_value=float(stats.kstwo.sf(distance, effective)),
        threshold=_threshold(false_alarm_rate, effective),
        effect=distance,
        degrees_of_freedom=0,
        reference_rows=reference_rows,
        current_rows=current_rows,
        false_alarm_rate=false_alarm_rate,
    )


def kolmogorov_smirnov_test_of_values(
    reference: ArrayLike, current: ArrayLike, *, false_alarm_rate: float = 0.01
) -> DriftTest:
    """The same test on raw values: exact up to 10,000 rows on the larger side, by SciPy's `ks_2samp`.

    Hodges (1958), *The significance probability of the Smirnov two-sample test*, Arkiv för Matematik 3, 469-486.

    Parameters
    ----------
    reference, current
        Finite values, of shapes `(reference rows,)` and `(current rows,)`.
    false_alarm_rate
        As for `kolmogorov_smirnov_test`.

    Raises
    ------
    ValueError
        If a side is not a vector of finite values, with one at least.

    >>> test = kolmogorov_smirnov_test_of_values([1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0])
    >>> test.statistic, round(test.p_value, 4)
    (1.0, 0.0286)
    """
    first, second = np.asarray(reference, np.float64), np.asarray(current, np.float64)
    for values in (first, second):
        if values.ndim != 1 or not values.size or not np.all(np.isfinite(values)):
            raise ValueError("both sides must be vectors of finite values, with one at least")
    test = stats.ks_2samp(first, second, method="auto")
    distance = float(test.statistic)
    return DriftTest(
        statistic=distance,
        p_value=float(test.pvalue),
        threshold=_threshold(false_alarm_rate, _effective_rows(first.size, second.size)),
        effect=distance,
        degrees_of_freedom=0,
        reference_rows=first.size,
        current_rows=second.size,
        false_alarm_rate=false_alarm_rate,
    )


def _effective_rows(reference_rows: int, current_rows: int) -> int:
    return max(1, round(reference_rows * current_rows / (reference_rows + current_rows)))


@functools.lru_cache(maxsize=1024)
def _threshold(false_alarm_rate: float, effective_rows: int) -> float:
    # Inverting Kolmogorov's law takes tens of milliseconds, and all features of a table have the same rows.
    return float(stats.kstwo.isf(false_alarm_rate, effective_rows))
