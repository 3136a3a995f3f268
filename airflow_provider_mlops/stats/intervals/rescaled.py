"""An interval restated at another confidence."""

from __future__ import annotations

from scipy import stats

from airflow_provider_mlops.stats.intervals.interval import Interval


def rescaled_interval(value: float, interval: tuple[float, float], confidence: float, wanted: float) -> Interval:
    r"""An interval at the confidence that is wanted, where only the one at another confidence is known.

    Each side is stretched by the ratio of the normal quantiles, :math:`z_{(1+w)/2} / z_{(1+c)/2}`: exact for a normal
    interval, and keeps a skewed one skewed. No substitute for an interval that was computed at the wanted confidence.

    Parameters
    ----------
    value
        The estimate.
    interval
        Its interval, at `confidence`.
    confidence, wanted
        Between 0 and 1.

    Raises
    ------
    ValueError
        If a confidence does not lie between 0 and 1.

    >>> [round(end, 3) for end in rescaled_interval(0.9, (0.8, 0.95), 0.95, 0.99)]
    [0.769, 0.966]
    """
    if not (0 < confidence < 1 and 0 < wanted < 1):
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence} and {wanted}")
    stretch = float(stats.norm.isf((1 - wanted) / 2) / stats.norm.isf((1 - confidence) / 2))
    return Interval(value - (value - interval[0]) * stretch, value + (interval[1] - value) * stretch)
