"""How many rows it takes to see a difference, and what difference the rows at hand can show."""

from __future__ import annotations

import functools
import math

import numpy as np
from scipy import optimize, stats


def rows_to_detect_drift(
    effect: float,
    cells: int,
    *,
    reference_rows: float = math.inf,
    false_alarm_rate: float = 0.01,
    power: float = 0.8,
) -> int | None:
    r"""Current rows that show a drift of a given PSI.

    The chi-square statistic of two samples that drifted by a PSI of :math:`\delta` is about noncentral
    :math:`\chi^2_{k-1}` with noncentrality :math:`\delta/(1/m + 1/n)`: PSI and the chi-square divergence agree to
    second order. Patnaik (1949), *The non-central chi-square and F-distribution and their applications*,
    Biometrika 36(1/2).

    Parameters
    ----------
    effect
        The PSI to detect, above 0.
    cells
        Cells of the histogram, at least 2.
    reference_rows
        Rows of the reference; infinite for a known distribution.
    false_alarm_rate
        Of the single test. Divide by the number of features when a family is watched.
    power
        Wanted chance of detection.

    Returns
    -------
    The rows, or None when the reference is too small for any number of current rows.

    >>> rows_to_detect_drift(0.25, 10, reference_rows=10_000)
    87
    >>> rows_to_detect_drift(0.25, 10, reference_rows=50) is None
    True
    """
    if not effect > 0:
        raise ValueError(f"effect must be above 0, not {effect}")
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
    """The smallest PSI that two samples of these sizes show. The inverse of `rows_to_detect_drift`.

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
    """The chance that two samples of these sizes show a drift of a given PSI.

    >>> round(power_to_detect_drift(0.25, 10_000, 87, 10), 2)
    0.8
    """
    if reference_rows <= 0 or current_rows <= 0:
        return 0.0
    noncentrality = effect / (1 / reference_rows + 1 / current_rows)
    return float(stats.ncx2.sf(stats.chi2.isf(false_alarm_rate, cells - 1), cells - 1, noncentrality))


def rows_to_detect_share_difference(
    first: float, second: float, *, ratio: float = 1.0, false_alarm_rate: float = 0.05, power: float = 0.8
) -> tuple[int, int]:
    r"""Rows of two samples that tell two shares apart, two-sided.

    .. math:: n_1 = (1 + 1/r)\,\frac{(z_{1-\alpha/2} + z_{1-\beta})^2}{h^2},
              \quad h = 2\arcsin\sqrt{p_1} - 2\arcsin\sqrt{p_2}

    Cohen (1988), *Statistical Power Analysis for the Behavioral Sciences*, chapter 6, with his effect size h.
    The chance of a significant difference in the wrong direction is neglected; it never is a thousandth of the rows.

    Parameters
    ----------
    first, second
        The two shares, between 0 and 1 and different.
    ratio
        Rows of the second sample per row of the first.
    false_alarm_rate, power
        Of the test.

    Returns
    -------
    Rows of the first and of the second sample.

    >>> rows_to_detect_share_difference(0.90, 0.93)
    (1347, 1347)
    """
    if not (0 <= first <= 1 and 0 <= second <= 1) or first == second:
        raise ValueError("two different shares between 0 and 1 are needed")
    if not ratio > 0:
        raise ValueError(f"ratio must be above 0, not {ratio}")
    effect = 2 * np.arcsin(np.sqrt(first)) - 2 * np.arcsin(np.sqrt(second))
    z = stats.norm.isf(false_alarm_rate / 2) + stats.norm.ppf(power)
    rows = float((1 + 1 / ratio) * (z / effect) ** 2)
    return math.ceil(rows), math.ceil(rows * ratio)


@functools.lru_cache(maxsize=4096)
def noncentrality_to_detect(degrees_of_freedom: int, false_alarm_rate: float, power: float) -> float:
    """The noncentrality at which a chi-square test at `false_alarm_rate` reaches `power`.

    >>> round(noncentrality_to_detect(1, 0.05, 0.8), 2)
    7.85
    """
    if degrees_of_freedom < 1:
        raise ValueError("two cells are the least")
    if not 0 < false_alarm_rate < power < 1:
        raise ValueError("power must exceed the false alarm rate, and both lie between 0 and 1")
    critical = float(stats.chi2.isf(false_alarm_rate, degrees_of_freedom))

    def missing_power(noncentrality: float) -> float:
        return float(stats.ncx2.sf(critical, degrees_of_freedom, noncentrality)) - power

    upper = critical
    while missing_power(upper) < 0:
        upper *= 2
    return float(optimize.brentq(missing_power, 1e-12, upper, xtol=1e-9))
