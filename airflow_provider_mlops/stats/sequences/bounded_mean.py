"""A confidence sequence for the mean of bounded values that promises its level from the first value on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from airflow_provider_mlops.stats.intervals.interval import Interval
from airflow_provider_mlops.stats.sequences.prior_observations import prior_observations

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BoundedMoments:
    """What replicas add up for the mean of bounded values.

    Parameters
    ----------
    count, total
        How many values, and their sum.
    variation
        Sum of the squared distances of each value from what had been predicted for it, *before* it was seen, from the
        past of the replica that saw it. Since each prediction depends on the past only, these sums are added over
        replicas without a loss of validity.

    >>> BoundedMoments().updated([0.2, 0.4], low=0, high=1)
    BoundedMoments(count=2, total=0.6000000000000001, variation=0.0925)
    """

    count: int = 0
    total: float = 0.0
    variation: float = 0.0

    def updated(self, values: ArrayLike, *, low: float, high: float) -> BoundedMoments:
        """With more values, as they came. Each is predicted by the mean before it, the middle counting as one value.

        Raises
        ------
        ValueError
            If a value lies outside the bounds: the sequence would promise nothing.
        """
        sample = np.asarray(values, dtype=np.float64)
        if not np.all((sample >= low) & (sample <= high)):
            raise ValueError(
                f"values must lie between {low} and {high}, not as far as {sample.min()} or {sample.max()}"
            )
        sums = self.total + np.concatenate([[0.0], np.cumsum(sample)])
        predicted = (sums[:-1] + (low + high) / 2) / (self.count + 1 + np.arange(sample.size))
        variation = self.variation + float(np.square(sample - predicted).sum())
        return BoundedMoments(self.count + sample.size, float(sums[-1]), variation)

    @classmethod
    def around(cls, expected: float, count: int, total: float, squares: float) -> BoundedMoments:
        """From a count, a sum and a sum of squares, where the order is lost: every value was predicted as `expected`.

        Valid for every prediction within the bounds that was declared before the data, and as narrow as with the
        running mean where the true mean is near it. The champion's mean of last week is a good choice.

        >>> round(BoundedMoments.around(0.5, 2, 0.6, 0.2).variation, 6)
        0.1
        """
        return cls(count, total, max(0.0, squares - 2 * expected * total + count * expected**2))

    def __add__(self, other: BoundedMoments) -> BoundedMoments:
        return BoundedMoments(self.count + other.count, self.total + other.total, self.variation + other.variation)


def bounded_mean_sequence(
    moments: BoundedMoments,
    *,
    low: float,
    high: float,
    confidence: float = 0.95,
    expected_n: float = 1000,
    expected_deviation: float | None = None,
) -> Interval:
    r"""The interval of a mean of bounded values that holds the true mean after all numbers of values at once.

    An empirical Bernstein sequence: with :math:`S_n = \sum_i (x_i - \mu)` and :math:`V_n = \sum_i (x_i - \hat x_i)^2`
    for predictions :math:`\hat x_i` from the past,
    :math:`\exp\{\lambda S_n - \psi_E(\lambda) V_n\}`, :math:`\psi_E(\lambda) = -\log(1-\lambda) - \lambda`, is a
    supermartingale for values in a range of length one. Mixed over :math:`\lambda` by a gamma distribution,

    .. math:: m(s, v) = \frac{\rho^\rho}{\Gamma(\rho) P(\rho, \rho)}\;
              \frac{\Gamma(v+\rho) P(v+\rho,\, s+v+\rho)}{(s+v+\rho)^{v+\rho}}\; e^{s+v}

    (:math:`P` the regularized lower incomplete gamma function), and the mean is kept while neither side's
    :math:`m` has reached :math:`2/\alpha`. Howard, Ramdas, McAuliffe and Sekhon (2021), *Time-uniform, nonparametric,
    nonasymptotic confidence sequences*, Annals of Statistics 49(2), theorem 4 and proposition S5. The :math:`\rho` is
    that of `prior_observations`, by their section 3.5 a good one for this mixture too. Not asymptotic. The
    betting sequences of Waudby-Smith and Ramdas (2024), *Estimating means of bounded random variables by betting*,
    JRSS B 86(1), are narrower for a few values; their state depends on the order of all values and on the mean that
    is tested, so that replicas cannot add it up.

    Parameters
    ----------
    moments
        Of the values.
    low, high
        Bounds that no value can leave.
    confidence
        Between 0 and 1.
    expected_n
        Values at which the interval is to be about tightest.
    expected_deviation
        About what standard deviation, for the tuning only. By default a quarter of the range.

    >>> values = np.tile([0.4, 0.6], 500)
    >>> interval = bounded_mean_sequence(BoundedMoments().updated(values, low=0, high=1), low=0, high=1)
    >>> [round(end, 3) for end in interval]
    [0.486, 0.514]
    """
    if not low < high:
        raise ValueError(f"low must be below high, not {low} and {high}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
    if moments.count == 0:
        return Interval(low, high)
    half = bounded_radius(
        moments.count, moments.variation, reach=high - low, confidence=confidence, expected_n=expected_n,
        expected_deviation=expected_deviation,
    )  # fmt: skip
    mean = moments.total / moments.count
    return Interval(max(low, mean - half), min(high, mean + half))


def bounded_radius(
    count: float,
    variation: float,
    *,
    reach: float,
    confidence: float = 0.95,
    expected_n: float = 1000,
    expected_deviation: float | None = None,
) -> float:
    """Half the width of `bounded_mean_sequence` before it is cut off at the bounds, which are `reach` apart.

    >>> round(bounded_radius(1000, 10.0, reach=1.0), 3)
    0.014
    """
    std = 0.25 if expected_deviation is None else expected_deviation / reach
    if not std > 0:
        raise ValueError(f"expected_deviation must be above 0, not {expected_deviation}")
    weight = prior_observations(expected_n * std**2, 1 - confidence)
    return float(deviation_bound(variation / reach**2, weight, (1 - confidence) / 2)) * reach / count


def deviation_bound(variation: ArrayLike, weight: float, error: float) -> Floats:
    """What the sum of deviations exceeds at any time with a chance of at most `error`, given the variation.

    >>> deviation_bound([0.0, 50.0], 6.62, 0.025).round(1)
    array([ 8.6, 24.6])
    """
    v = np.asarray(variation, dtype=np.float64)
    inside, outside = np.zeros_like(v), np.full_like(v, 1.0)
    while np.any(short := log_mixture(outside, v, weight) < -math.log(error)):
        inside, outside = np.where(short, outside, inside), np.where(short, 2 * outside, outside)
    for _ in range(60):
        middle = (inside + outside) / 2
        short = log_mixture(middle, v, weight) < -math.log(error)
        inside, outside = np.where(short, middle, inside), np.where(short, outside, middle)
    return outside


def log_mixture(deviations: ArrayLike, variation: ArrayLike, weight: float) -> Floats:
    """Log of the gamma mixture :math:`m(s, v)` of `bounded_mean_sequence`.

    Minus infinity for deviations so far below 0 that the formula ends: they are no evidence anyway.

    >>> round(float(log_mixture(10.0, 20.0, 2.0)), 3)
    1.015
    """
    s, v = np.asarray(deviations, dtype=np.float64), np.asarray(variation, dtype=np.float64)
    shape, rate = v + weight, s + v + weight
    inside = np.maximum(rate, 1e-3 * shape)
    constant = weight * math.log(weight) - special.gammaln(weight) - np.log(special.gammainc(weight, weight))
    with np.errstate(divide="ignore"):
        tail = np.log(special.gammainc(shape, inside))
    mixture = constant + special.gammaln(shape) + tail - shape * np.log(inside) + s + v
    return np.asarray(np.where(rate > 1e-3 * shape, mixture, -np.inf), dtype=np.float64)
