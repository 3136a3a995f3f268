"""Confidence sequence for the mean of bounded values that holds its level from the first value on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from airflow_provider_mlops.stats.arrays import Floats
from airflow_provider_mlops.stats.checks import check_confidence, check_positive
from airflow_provider_mlops.stats.intervals.interval import Interval
from airflow_provider_mlops.stats.sequences.mean import Moments
from airflow_provider_mlops.stats.sequences.prior_observations import prior_observations


@dataclass(frozen=True, slots=True)
class BoundedMoments:
    """Sums for the mean of bounded values. The sums of several replicas can be added.

    Parameters
    ----------
    count, total
        Number of values, and their sum.
    variation
        Sum of the squared differences between each value and its prediction, which the replica made *before* it saw the
        value, from its own past. Because each prediction depends only on the past, the sums of replicas add without a
        loss of validity.

    Examples
    --------
    >>> BoundedMoments().updated([0.2, 0.4], low=0, high=1)
    BoundedMoments(count=2, total=0.6000000000000001, variation=0.0925)
    """

    count: int = 0
    total: float = 0.0
    variation: float = 0.0

    def updated(self, values: ArrayLike, *, low: float, high: float) -> BoundedMoments:
        """Return the moments with more values, in their order. Each is predicted by the mean of the earlier ones.

        The middle of the bounds counts as one earlier value.

        Raises
        ------
        ValueError
            If a value is outside the bounds, because the sequence would then guarantee nothing.
        """
        sample = np.asarray(values, dtype=np.float64)
        if not np.all((sample >= low) & (sample <= high)):
            raise ValueError(
                f"values must be between {low} and {high}, got values from {sample.min()} to {sample.max()}"
            )
        sums = self.total + np.concatenate([[0.0], np.cumsum(sample)])
        predicted = (sums[:-1] + (low + high) / 2) / (self.count + 1 + np.arange(sample.size))
        variation = self.variation + float(np.square(sample - predicted).sum())
        return BoundedMoments(self.count + sample.size, float(sums[-1]), variation)

    @classmethod
    def around(cls, expected: float, moments: Moments) -> BoundedMoments:
        """Create moments from those of `mean`, with the same prediction for every value.

        Use it if the order of the values is lost. It is valid for every prediction within the bounds that was declared
        before the data. If the true mean is near the prediction, the sequence is as narrow as with the running mean.
        The champion's mean of the previous week is a good choice.

        >>> round(BoundedMoments.around(0.5, Moments.of([0.2, 0.4])).variation, 6)
        0.1
        """
        if not moments.count:
            return cls()
        distance = moments.count * (moments.mean - expected) ** 2
        return cls(moments.count, moments.total, moments.deviations + distance)

    def __add__(self, other: BoundedMoments) -> BoundedMoments:
        return BoundedMoments(self.count + other.count, self.total + other.total, self.variation + other.variation)


def bounded_mean_sequence(
    moments: BoundedMoments,
    *,
    low: float,
    high: float,
    confidence: float = 0.95,
    expected_n: float = 1000,
    expected_std: float | None = None,
) -> Interval:
    r"""Return the interval for a mean of bounded values that contains the true mean at all times at once.

    It is an empirical Bernstein sequence: with :math:`S_n = \sum_i (x_i - \mu)` and :math:`V_n = \sum_i (x_i - \hat
    x_i)^2` for predictions :math:`\hat x_i` from the past, :math:`\exp\{\lambda S_n - \psi_E(\lambda) V_n\}`,
    :math:`\psi_E(\lambda) = -\log(1-\lambda) - \lambda`, is a supermartingale for values in a range of length one.
    Mixed over :math:`\lambda` by a gamma distribution it becomes

    .. math:: m(s, v) = \frac{\rho^\rho}{\Gamma(\rho) P(\rho, \rho)}\;
              \frac{\Gamma(v+\rho) P(v+\rho,\, s+v+\rho)}{(s+v+\rho)^{v+\rho}}\; e^{s+v}

    (:math:`P` is the regularized lower incomplete gamma function), and the interval contains every mean for which
    neither side's :math:`m` has reached :math:`2/\alpha`. Howard, Ramdas, McAuliffe and Sekhon (2021), *Time-uniform,
    nonparametric, nonasymptotic confidence sequences*, Annals of Statistics 49(2), theorem 4 and proposition S5. The
    :math:`\rho` is that of `prior_observations`, which by their section 3.5 is a good one for this mixture too. The
    sequence is not asymptotic. The betting sequences of Waudby-Smith and Ramdas (2024), *Estimating means of bounded
    random variables by betting*, JRSS B 86(1), are narrower for a few values, but their state depends on the order of
    all values and on the mean that is tested, so the states of replicas cannot be added.

    Parameters
    ----------
    moments
        Moments of the values.
    low, high
        Bounds that no value can exceed.
    confidence
        Confidence level, between 0 and 1.
    expected_n
        Number of values at which the interval should be about tightest.
    expected_std
        Approximate standard deviation, used for tuning only. Defaults to a quarter of the range.

    Examples
    --------
    >>> values = np.tile([0.4, 0.6], 500)
    >>> interval = bounded_mean_sequence(BoundedMoments().updated(values, low=0, high=1), low=0, high=1)
    >>> [round(end, 3) for end in interval]
    [0.486, 0.514]
    """
    if not low < high:
        raise ValueError(f"low must be less than high, got low={low} and high={high}")
    check_confidence(confidence)
    if moments.count == 0:
        return Interval(low, high)
    half = bounded_radius(
        moments.count,
        moments.variation,
        range_width=high - low,
        confidence=confidence,
        expected_n=expected_n,
        expected_std=expected_std,
    )
    mean = moments.total / moments.count
    return Interval(max(low, mean - half), min(high, mean + half))


def bounded_radius(
    count: float,
    variation: float,
    *,
    range_width: float,
    confidence: float = 0.95,
    expected_n: float = 1000,
    expected_std: float | None = None,
) -> float:
    """Return half the width of `bounded_mean_sequence`, before it is limited to the bounds.

    >>> round(bounded_radius(1000, 10.0, range_width=1.0), 3)
    0.014
    """
    std = 0.25 if expected_std is None else expected_std / range_width
    if expected_std is not None:
        check_positive(expected_std=expected_std)
    weight = prior_observations(expected_n * std**2, 1 - confidence)
    return float(gamma_mixture_bound(variation / range_width**2, weight, (1 - confidence) / 2)) * range_width / count


def gamma_mixture_bound(variation: ArrayLike, weight: float, error: float) -> Floats:
    """Return a bound that the sum of differences from the mean ever exceeds with probability at most `error`.

    The result has the shape of `variation`, the sum of squared differences so far.

    >>> gamma_mixture_bound([0.0, 50.0], 6.62, 0.025).round(1)
    array([ 8.6, 24.6])
    """
    v = np.asarray(variation, dtype=np.float64)
    inside, outside = np.zeros_like(v), np.full_like(v, 1.0)
    while np.any(short := log_gamma_mixture(outside, v, weight) < -math.log(error)):
        inside, outside = np.where(short, outside, inside), np.where(short, 2 * outside, outside)
    for _ in range(60):
        middle = (inside + outside) / 2
        short = log_gamma_mixture(middle, v, weight) < -math.log(error)
        inside, outside = np.where(short, middle, inside), np.where(short, outside, middle)
    return outside


def log_gamma_mixture(deviation_sum: ArrayLike, variation: ArrayLike, weight: float) -> Floats:
    """Return the log of the gamma mixture :math:`m(s, v)` of `bounded_mean_sequence`.

    It is minus infinity for sums so far below 0 that the formula is not defined; they do not count as evidence.

    >>> round(float(log_gamma_mixture(10.0, 20.0, 2.0)), 3)
    1.015
    """
    s, v = np.asarray(deviation_sum, dtype=np.float64), np.asarray(variation, dtype=np.float64)
    shape, rate = v + weight, s + v + weight
    inside = np.maximum(rate, 1e-3 * shape)
    constant = weight * math.log(weight) - special.gammaln(weight) - np.log(special.gammainc(weight, weight))
    with np.errstate(divide="ignore"):
        tail = np.log(special.gammainc(shape, inside))
    mixture = constant + special.gammaln(shape) + tail - shape * np.log(inside) + s + v
    return np.asarray(np.where(rate > 1e-3 * shape, mixture, -np.inf), dtype=np.float64)
