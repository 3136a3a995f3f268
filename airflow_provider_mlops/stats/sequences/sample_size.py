"""How many requests an A/B test needs to find the smallest effect worth finding."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from airflow_provider_mlops.stats.sequences.bounded_mean import bounded_radius
from airflow_provider_mlops.stats.sequences.mean import difference_radius


@dataclass(frozen=True, slots=True)
class SampleSize:
    """Observations of either arm.

    >>> SampleSize(100, 300).total
    400
    """

    candidate: int
    champion: int

    @property
    def total(self) -> int:
        """Of both arms."""
        return self.candidate + self.champion


def requests_for_rates(
    champion_rate: float,
    effect: float,
    *,
    candidate_share: float = 0.5,
    false_alarm_rate: float = 0.05,
    power: float = 0.8,
) -> SampleSize:
    r"""Requests with which one two-sided z-test at the end finds a difference of two rates.

    .. math:: n_1 = \frac{\left(z_{1-\alpha/2}\sqrt{\bar p\bar q(1+1/r)} +
              z_{1-\beta}\sqrt{p_1q_1 + p_0q_0/r}\right)^2}{(p_1-p_0)^2}, \quad r = \frac{n_0}{n_1}

    with the pooled :math:`\bar p` under no difference: Fleiss, Levin and Paik (2003), *Statistical Methods for Rates
    and Proportions*, chapter 4, without the correction for continuity. The chance of significance in the wrong
    direction is neglected.

    Parameters
    ----------
    champion_rate
        The rate now, between 0 and 1.
    effect
        The smallest difference worth finding, of either sign and not 0; the candidate's rate must lie within 0 and 1.
    candidate_share
        Share of the requests that the candidate gets, between 0 and 1.
    false_alarm_rate, power
        Of the test.

    >>> requests_for_rates(0.10, 0.02)
    SampleSize(candidate=3841, champion=3841)
    """
    _check(candidate_share, false_alarm_rate, power)
    candidate_rate = champion_rate + effect
    if effect == 0 or not (0 <= champion_rate <= 1 and 0 <= candidate_rate <= 1):
        raise ValueError(f"effect must lead from {champion_rate} to another rate between 0 and 1, not be {effect}")
    ratio = (1 - candidate_share) / candidate_share
    pooled = candidate_share * candidate_rate + (1 - candidate_share) * champion_rate
    alike = pooled * (1 - pooled) * (1 + 1 / ratio)
    apart = candidate_rate * (1 - candidate_rate) + champion_rate * (1 - champion_rate) / ratio
    root = stats.norm.isf(false_alarm_rate / 2) * math.sqrt(alike) + stats.norm.ppf(power) * math.sqrt(apart)
    return _split((root / effect) ** 2, ratio)


def requests_for_means(
    std: float,
    effect: float,
    *,
    candidate_share: float = 0.5,
    false_alarm_rate: float = 0.05,
    power: float = 0.8,
) -> SampleSize:
    r"""Requests with which one two-sided t-test at the end finds a difference of two means.

    The power is that of the noncentral t distribution with noncentrality
    :math:`\frac{\delta}{\sigma}\big/\sqrt{1/n_0 + 1/n_1}`: Cohen (1988), *Statistical Power Analysis for the Behavioral
    Sciences*, chapter 2.

    Parameters
    ----------
    std
        Standard deviation within an arm, above 0.
    effect
        The smallest difference worth finding, not 0.
    candidate_share, false_alarm_rate, power
        As for `requests_for_rates`.

    >>> requests_for_means(10.0, 1.0)
    SampleSize(candidate=1571, champion=1571)
    """
    _check(candidate_share, false_alarm_rate, power)
    if not std > 0 or not math.isfinite(effect) or effect == 0:
        raise ValueError(f"deviation must be above 0 and effect not 0, not {std} and {effect}")
    ratio = (1 - candidate_share) / candidate_share

    def missing(candidate: float) -> float:
        champion = candidate * ratio
        freedom = candidate + champion - 2
        noncentrality = abs(effect) / std / math.sqrt(1 / candidate + 1 / champion)
        critical = stats.t.isf(false_alarm_rate / 2, freedom)
        # Beyond what SciPy's noncentral t can do, the normal distribution is as good.
        found = stats.nct.sf(critical, freedom, noncentrality) + stats.nct.cdf(-critical, freedom, noncentrality)
        if not math.isfinite(found):
            found = stats.norm.sf(critical - noncentrality)
        return float(found) - power

    # With a request in each arm and one more there is a degree of freedom, the least for which there is a test.
    least = max(1.0, 1 / ratio, 3 / (1 + ratio))
    return _split(_first_enough(missing, least), ratio)


def requests_for_sequence(
    deviations: tuple[float, float],
    effect: float,
    *,
    candidate_share: float = 0.5,
    confidence: float = 0.95,
    power: float = 0.8,
    expected_n: float | None = None,
) -> SampleSize:
    r"""About how many requests until a sequence of the difference leaves out 0, with a chance of `power`.

    The number at which the effect is as large as the interval's radius and the error of the estimate together,

    .. math:: \delta = R(n_0, n_1) + z_{1-\beta}\sqrt{\sigma_0^2/n_0 + \sigma_1^2/n_1}

    with the radius :math:`R` of `mean_difference_sequence`; for rates, `rate_difference_sequence` has nearly the same.
    The interval may leave out 0 at any earlier look, which is neglected: a few percent fewer requests will do. Half
    of all tests of a true effect end far sooner than this, and one of a larger effect sooner still; that is what the
    larger number buys.

    Parameters
    ----------
    deviations
        Standard deviation of the candidate's and of the champion's values; of a rate, the root of `p (1 - p)`.
    effect
        The smallest difference worth finding, not 0.
    candidate_share
        Share of the requests that the candidate gets.
    confidence, expected_n
        Of the sequence; by default it is tuned for the number that comes out.
    power
        Wanted chance.

    >>> requests_for_sequence((10.0, 10.0), 1.0)
    SampleSize(candidate=3634, champion=3634)
    """
    _check(candidate_share, 1 - confidence, power)
    if not min(deviations) > 0 or not math.isfinite(effect) or effect == 0:
        raise ValueError(f"deviations must be above 0 and effect not 0, not {deviations} and {effect}")
    ratio = (1 - candidate_share) / candidate_share
    variances = np.square(np.asarray(deviations, dtype=np.float64))
    z = float(stats.norm.ppf(power))

    def missing(candidate: float) -> float:
        counts = np.array([candidate, candidate * ratio])
        tuning = float(counts.mean()) if expected_n is None else expected_n
        radius = float(difference_radius(counts, variances, confidence=confidence, expected_n=tuning))
        return abs(effect) - radius - z * math.sqrt(float(np.sum(variances / counts)))

    return _split(_first_enough(missing, 1e-3), ratio)


@functools.lru_cache(maxsize=256)
def requests_for_bounded_sequence(
    deviations: tuple[float, float],
    effect: float,
    *,
    reach: float,
    misses: tuple[float, float] = (0.0, 0.0),
    candidate_share: float = 0.5,
    confidence: float = 0.95,
    power: float = 0.8,
) -> SampleSize:
    r"""The same for values within bounds, as `compare_bounded_means` compares them: two sequences at half the error.

    .. math:: \delta = R(n_0, V_0) + R(n_1, V_1) + z_{1-\beta}\sqrt{\sigma_0^2/n_0 + \sigma_1^2/n_1}, \quad
              V_i = n_i\,(\sigma_i^2 + d_i^2)

    with the radius :math:`R` of `bounded_mean_sequence` and the miss :math:`d_i` of what was expected of each value.

    Parameters
    ----------
    deviations, effect, candidate_share, confidence, power
        As for `requests_for_sequence`.
    reach
        How far the bounds are apart.
    misses
        By how much the mean of the candidate, and of the champion, differs from the value that was expected.

    >>> requests_for_bounded_sequence((0.1, 0.1), 0.02, reach=1.0)
    SampleSize(candidate=2416, champion=2416)
    >>> requests_for_bounded_sequence((0.1, 0.1), 0.02, reach=1.0, misses=(0.3, 0.3)).candidate
    12863
    """
    _check(candidate_share, 1 - confidence, power)
    if not min(deviations) > 0 or not math.isfinite(effect) or effect == 0 or not reach > 0:
        raise ValueError(f"deviations and reach must be above 0 and effect not 0: {deviations}, {reach} and {effect}")
    ratio = (1 - candidate_share) / candidate_share
    variances = np.square(np.asarray(deviations, dtype=np.float64))
    spreads = variances + np.square(misses)
    z = float(stats.norm.ppf(power))

    def missing(candidate: float) -> float:
        counts = np.array([candidate, candidate * ratio])
        radii = sum(
            bounded_radius(
                count, count * spread, reach=reach, confidence=(1 + confidence) / 2, expected_n=float(counts.mean())
            )
            for count, spread in zip(counts, spreads, strict=True)
        )
        return abs(effect) - radii - z * math.sqrt(float(np.sum(variances / counts)))

    return _split(_first_enough(missing, 1.0), ratio)


def _first_enough(missing: Callable[[float], float], least: float) -> float:
    """Where a rising function passes 0, at `least` or above."""
    if missing(least) >= 0:
        return least
    most = 2 * least
    while missing(most) < 0:
        most *= 2
    return float(optimize.brentq(missing, most / 2, most, xtol=1e-6, rtol=1e-12))


def _split(candidate: float, ratio: float) -> SampleSize:
    # What rounding left above an integer is no further request.
    return SampleSize(math.ceil(candidate - 1e-6), math.ceil(candidate * ratio - 1e-6))


def _check(candidate_share: float, false_alarm_rate: float, power: float) -> None:
    if not 0 < candidate_share < 1:
        raise ValueError(f"candidate_share must lie between 0 and 1, not {candidate_share}")
    if not 0 < false_alarm_rate < power < 1:
        raise ValueError("power must exceed the false alarm rate, and both lie between 0 and 1")
