"""Confidence intervals for a proportion."""

from __future__ import annotations

import numpy as np
from scipy import stats

from airflow_provider_mlops.stats.checks import check_confidence
from airflow_provider_mlops.stats.intervals.interval import Interval


def wilson_interval(successes: int, rows: int, confidence: float = 0.95) -> Interval:
    r"""Return the score interval for a proportion. Use it by default: it is close to its level even for a few rows.

    .. math:: \frac{\hat p + z^2/2n \pm z\sqrt{\hat p(1-\hat p)/n + z^2/4n^2}}{1 + z^2/n}

    Wilson (1927), *Probable inference, the law of succession, and statistical inference*, JASA 22(158); recommended for
    few rows by Brown, Cai and DasGupta (2001), *Interval estimation for a binomial proportion*, Statistical Science
    16(2).

    Parameters
    ----------
    successes, rows
        Counts with `0 <= successes <= rows` and `rows >= 1`.
    confidence
        Confidence level, between 0 and 1.

    Examples
    --------
    >>> [round(end, 4) for end in wilson_interval(8, 10)]
    [0.4902, 0.9433]
    """
    proportion = _proportion(successes, rows, confidence)
    z = float(stats.norm.isf((1 - confidence) / 2))
    center = (proportion + z**2 / (2 * rows)) / (1 + z**2 / rows)
    half = z * np.sqrt(proportion * (1 - proportion) / rows + z**2 / (4 * rows**2)) / (1 + z**2 / rows)
    # Exact at 0 and 1, where rounding could leave the estimate outside.
    low = 0.0 if successes == 0 else max(0.0, float(center - half))
    high = 1.0 if successes == rows else min(1.0, float(center + half))
    return Interval(low, high)


def clopper_pearson_interval(successes: int, rows: int, confidence: float = 0.95) -> Interval:
    r"""Return the exact interval for a proportion. It never covers less than its level, and is therefore wide.

    .. math:: B^{-1}(\alpha/2;\, s,\, n-s+1),\quad B^{-1}(1-\alpha/2;\, s+1,\, n-s)

    Use it for gates that must hold their level exactly. Clopper and Pearson (1934), *The use of confidence or fiducial
    limits illustrated in the case of the binomial*, Biometrika 26(4). The parameters are those of `wilson_interval`.

    >>> [round(end, 4) for end in clopper_pearson_interval(8, 10)]
    [0.4439, 0.9748]
    """
    _proportion(successes, rows, confidence)
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else float(stats.beta.ppf(tail, successes, rows - successes + 1))
    high = 1.0 if successes == rows else float(stats.beta.isf(tail, successes + 1, rows - successes))
    return Interval(low, high)


def _proportion(successes: int, rows: int, confidence: float) -> float:
    check_confidence(confidence)
    if rows < 1 or not 0 <= successes <= rows:
        raise ValueError(f"0 <= successes <= rows and rows >= 1 are required, got successes={successes}, rows={rows}")
    return successes / rows
