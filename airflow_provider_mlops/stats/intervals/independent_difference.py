"""Interval of a difference, from the intervals of two independent estimates."""

from __future__ import annotations

import math

from airflow_provider_mlops.stats.intervals.interval import Interval


def difference_interval(
    value: float, interval: tuple[float, float], other: float, other_interval: tuple[float, float]
) -> Interval:
    r"""Return the interval of `value - other` for two independent estimates, by the MOVER method.

    .. math:: \hat a - \hat b - \sqrt{(\hat a - l_a)^2 + (u_b - \hat b)^2},\quad
              \hat a - \hat b + \sqrt{(u_a - \hat a)^2 + (\hat b - l_b)^2}

    MOVER is the method of variance estimates recovery. Each end combines the distances from the two estimates to those
    of their ends that make the difference extreme. Skewed intervals stay skewed, such as those of an accuracy near 1.
    Zou and Donner (2008), *Construction of confidence limits about effect measures: a general approach*, Statistics in
    Medicine 27(10). With `wilson_interval` it is method 10 of Newcombe (1998), *Interval estimation for the difference
    between independent proportions*, Statistics in Medicine 17(8).

    Parameters
    ----------
    value, other
        The two estimates.
    interval, other_interval
        Their intervals, at the confidence level wanted for the difference.

    Examples
    --------
    >>> [round(end, 4) for end in difference_interval(0.80, (0.75, 0.85), 0.90, (0.87, 0.93))]
    [-0.1583, -0.0417]
    """
    difference = value - other
    return Interval(
        difference - math.hypot(value - interval[0], other_interval[1] - other),
        difference + math.hypot(interval[1] - value, other - other_interval[0]),
    )
