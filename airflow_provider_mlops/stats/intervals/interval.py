"""Intervals for a share and for a mean."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


class Interval(NamedTuple):
    """Two ends of a confidence interval.

    >>> low, high = Interval(0.1, 0.3)
    """

    low: float
    high: float


def wilson_interval(successes: int, rows: int, confidence: float = 0.95) -> Interval:
    r"""Score interval for a share. The one to use by default: close to its nominal level even for a few rows.

    .. math:: \frac{\hat p + z^2/2n \pm z\sqrt{\hat p(1-\hat p)/n + z^2/4n^2}}{1 + z^2/n}

    Wilson (1927), *Probable inference, the law of succession, and statistical inference*, JASA 22(158); recommended for
    few rows by Brown, Cai and DasGupta (2001), *Interval estimation for a binomial proportion*, Statistical Science
    16(2).

    Parameters
    ----------
    successes, rows
        `0 <= successes <= rows`, `rows >= 1`.
    confidence
        Between 0 and 1.

    >>> [round(end, 4) for end in wilson_interval(8, 10)]
    [0.4902, 0.9433]
    """
    share = _share(successes, rows, confidence)
    z = float(stats.norm.isf((1 - confidence) / 2))
    centre = (share + z**2 / (2 * rows)) / (1 + z**2 / rows)
    half = z * np.sqrt(share * (1 - share) / rows + z**2 / (4 * rows**2)) / (1 + z**2 / rows)
    # Exact at the borders, where rounding could leave the estimate outside.
    low = 0.0 if successes == 0 else max(0.0, float(centre - half))
    high = 1.0 if successes == rows else min(1.0, float(centre + half))
    return Interval(low, high)


def clopper_pearson_interval(successes: int, rows: int, confidence: float = 0.95) -> Interval:
    r"""Exact interval for a share: never covers less than its level, and so is wide. For gates that must not err.

    .. math:: B^{-1}(\alpha/2;\, s,\, n-s+1),\quad B^{-1}(1-\alpha/2;\, s+1,\, n-s)

    Clopper and Pearson (1934), *The use of confidence or fiducial limits illustrated in the case of the binomial*,
    Biometrika 26(4). Parameters as for `wilson_interval`.

    >>> [round(end, 4) for end in clopper_pearson_interval(8, 10)]
    [0.4439, 0.9748]
    """
    _share(successes, rows, confidence)
    tail = (1 - confidence) / 2
    low = 0.0 if successes == 0 else float(stats.beta.ppf(tail, successes, rows - successes + 1))
    high = 1.0 if successes == rows else float(stats.beta.isf(tail, successes + 1, rows - successes))
    return Interval(low, high)


def mean_interval(values: ArrayLike, confidence: float = 0.95) -> Interval:
    r"""Student's interval for the mean of independent values: :math:`\bar x \pm t_{n-1} s/\sqrt n`.

    Student (1908), *The probable error of a mean*, Biometrika 6(1).

    Parameters
    ----------
    values
        Of shape `(rows,)`, at least two, all finite.
    confidence
        Between 0 and 1.

    >>> [round(end, 3) for end in mean_interval([1.0, 2.0, 3.0, 4.0])]
    [0.446, 4.554]
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or sample.size < 2 or not np.all(np.isfinite(sample)):
        raise ValueError("an interval for a mean needs a vector of at least two finite values")
    return mean_interval_from_moments(float(sample.mean()), float(sample.std(ddof=1)), sample.size, confidence)


def mean_interval_from_moments(mean: float, std: float, rows: int, confidence: float = 0.95) -> Interval:
    """The same from a mean and a standard deviation that an engine computed.

    Parameters
    ----------
    mean, deviation
        Of the sample, the deviation with `rows - 1` as its divisor.
    rows
        At least 2.
    confidence
        Between 0 and 1.

    >>> [round(end, 2) for end in mean_interval_from_moments(10.0, 2.0, 100)]
    [9.6, 10.4]
    """
    _check_confidence(confidence)
    if rows < 2 or std < 0:
        raise ValueError("an interval for a mean needs at least two rows and a deviation that is not negative")
    half = float(stats.t.isf((1 - confidence) / 2, rows - 1)) * std / float(np.sqrt(rows))
    return Interval(mean - half, mean + half)


def _share(successes: int, rows: int, confidence: float) -> float:
    _check_confidence(confidence)
    if rows < 1 or not 0 <= successes <= rows:
        raise ValueError(f"a share needs 0 <= successes <= rows and a row, not {successes} of {rows}")
    return successes / rows


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
