"""Rows that are needed to detect a drift, and the drift that given rows can detect."""

from __future__ import annotations

import functools
import math

from scipy import optimize, stats

from airflow_provider_mlops.stats.checks import check_positive, check_power


def rows_to_detect_drift(
    effect: float,
    cells: int,
    *,
    reference_rows: float = math.inf,
    false_alarm_rate: float = 0.01,
    power: float = 0.8,
) -> int | None:
    r"""Return the number of current rows that detect a drift of a given PSI.

    The chi-square statistic of two samples that drifted by a PSI of :math:`\delta` is approximately noncentral
    :math:`\chi^2_{k-1}` with noncentrality :math:`\delta/(1/m + 1/n)`: PSI and chi-square divergence agree to second
    order. Patnaik (1949), *The non-central chi-square and F-distribution and their applications*, Biometrika 36(1/2).

    Parameters
    ----------
    effect
        PSI to detect, above 0.
    cells
        Number of cells of the histogram, at least 2.
    reference_rows
        Rows of the reference; infinite for a known distribution.
    false_alarm_rate
        False alarm rate of the single test. Divide it by the number of features if many are monitored.
    power
        Wanted probability of detection.

    Returns
    -------
    int or None
        The number of rows; None if the reference is too small for any number of current rows.

    Examples
    --------
    >>> rows_to_detect_drift(0.25, 10, reference_rows=10_000)
    87
    >>> rows_to_detect_drift(0.25, 10, reference_rows=50) is None
    True
    """
    check_positive(effect=effect)
    effective = noncentrality_to_detect(cells - 1, false_alarm_rate, power) / effect
    if effective >= reference_rows:
        return None
    return math.ceil(1 / (1 / effective - 1 / reference_rows))


def detectable_drift(
    reference_rows: float,
    current_rows: float,
    cells: int,
    *,
    false_alarm_rate: float = 0.01,
    power: float = 0.8,
) -> float:
    """Return the smallest PSI that two samples of these sizes can detect: the inverse of `rows_to_detect_drift`.

    >>> round(detectable_drift(10_000, 87, 10), 2)
    0.25
    >>> detectable_drift(10_000, 0, 10)
    inf
    """
    if reference_rows <= 0 or current_rows <= 0:
        return math.inf
    return noncentrality_to_detect(cells - 1, false_alarm_rate, power) * (1 / reference_rows + 1 / current_rows)


def power_to_detect_drift(
    effect: float, reference_rows: float, current_rows: float, cells: int, *, false_alarm_rate: float = 0.01
) -> float:
    """Return the probability that two samples of these sizes detect a drift of a given PSI.

    >>> round(power_to_detect_drift(0.25, 10_000, 87, 10), 2)
    0.8
    """
    if reference_rows <= 0 or current_rows <= 0:
        return 0.0
    noncentrality = effect / (1 / reference_rows + 1 / current_rows)
    return float(stats.ncx2.sf(stats.chi2.isf(false_alarm_rate, cells - 1), cells - 1, noncentrality))


@functools.lru_cache(maxsize=4096)
def noncentrality_to_detect(degrees_of_freedom: int, false_alarm_rate: float, power: float) -> float:
    """Return the noncentrality at which a chi-square test at `false_alarm_rate` reaches `power`.

    >>> round(noncentrality_to_detect(1, 0.05, 0.8), 2)
    7.85
    """
    if degrees_of_freedom < 1:
        raise ValueError(f"cells must be at least 2, got {degrees_of_freedom + 1}")
    check_power(false_alarm_rate, power)
    critical = float(stats.chi2.isf(false_alarm_rate, degrees_of_freedom))

    def missing_power(noncentrality: float) -> float:
        return float(stats.ncx2.sf(critical, degrees_of_freedom, noncentrality)) - power

    upper = critical
    while missing_power(upper) < 0:
        upper *= 2
    return float(optimize.brentq(missing_power, 1e-12, upper, xtol=1e-9))
