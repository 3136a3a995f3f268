"""Conversion of an interval to another confidence level."""

from __future__ import annotations

from scipy import stats

from airflow_provider_mlops.stats.checks import check_open_unit_interval
from airflow_provider_mlops.stats.intervals.interval import Interval


def rescaled_interval(
    value: float, interval: tuple[float, float], confidence: float, new_confidence: float
) -> Interval:
    """Return an interval at a new confidence level, if only the interval at another level is known.

    Each side is stretched by the ratio of the normal quantiles, :math:`z_{(1+w)/2} / z_{(1+c)/2}`. This is exact for a
    normal interval and keeps a skewed interval skewed. It does not replace an interval that was computed at the new
    level.

    Parameters
    ----------
    value
        The estimate.
    interval
        Its interval at the level `confidence`.
    confidence, new_confidence
        The level of `interval` and the level of the result, between 0 and 1.

    Raises
    ------
    ValueError
        If a confidence level is not between 0 and 1.

    Examples
    --------
    >>> [round(end, 3) for end in rescaled_interval(0.9, (0.8, 0.95), 0.95, 0.99)]
    [0.769, 0.966]
    """
    check_open_unit_interval(confidence=confidence, new_confidence=new_confidence)
    stretch = float(stats.norm.isf((1 - new_confidence) / 2) / stats.norm.isf((1 - confidence) / 2))
    return Interval(value - (value - interval[0]) * stretch, value + (interval[1] - value) * stretch)
