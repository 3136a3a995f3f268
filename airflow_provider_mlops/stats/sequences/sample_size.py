"""Number of requests that an A/B test needs to find the smallest effect that matters."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from airflow_provider_mlops.stats.checks import check_open_unit_interval, check_positive, check_power
from airflow_provider_mlops.stats.sequences.bounded_mean import bounded_radius
from airflow_provider_mlops.stats.sequences.mean import difference_radius


@dataclass(frozen=True, slots=True)
class SampleSize:
    """Number of observations of each arm.

    >>> SampleSize(100, 300).total
    400
    """

    candidate: int
    champion: int

    @property
    def total(self) -> int:
        """Number of observations of both arms."""
        return self.candidate + self.champion


def requests_for_rates(
    champion_rate: float,
    effect: float,
    *,
    candidate_share: float = 0.5,
    false_alarm_rate: float = 0.05,
    power: float = 0.8,
) -> SampleSize:
    r"""Return the requests with which a single two-sided z-test at the end finds a difference between two rates.

    .. math:: n_1 = \frac{\left(z_{1-\alpha/2}\sqrt{\bar p\bar q(1+1/r)} +
              z_{1-\beta}\sqrt{p_1q_1 + p_0q_0/r}\right)^2}{(p_1-p_0)^2}, \quad r = \frac{n_0}{n_1}

    with the pooled :math:`\bar p` under no difference: Fleiss, Levin and Paik (2003), *Statistical Methods for Rates
    and Proportions*, chapter 4, without the correction for continuity. The probability of significance in the wrong
    direction is neglected.

    Parameters
    ----------
    champion_rate
        Current rate, between 0 and 1.
    effect
        Smallest difference that matters, positive or negative but not 0. The candidate's rate must be between 0 and 1.
    candidate_share
        Fraction of the requests that the candidate gets, between 0 and 1.
    false_alarm_rate, power
        False alarm rate and power of the test.

    Examples
    --------
    >>> requests_for_rates(0.10, 0.02)
    SampleSize(candidate=3841, champion=3841)
    """
    check_open_unit_interval(candidate_share=candidate_share)
    check_power(false_alarm_rate, power)
    candidate_rate = champion_rate + effect
    if effect == 0 or not (0 <= champion_rate <= 1 and 0 <= candidate_rate <= 1):
        raise ValueError(
            "champion_rate and champion_rate + effect must be two different rates between 0 and 1, "
            f"got champion_rate={champion_rate} and effect={effect}"
        )
    ratio = (1 - candidate_share) / candidate_share
    pooled = candidate_share * candidate_rate + (1 - candidate_share) * champion_rate
    alike = pooled * (1 - pooled) * (1 + 1 / ratio)
    apart = candidate_rate * (1 - candidate_rate) + champion_rate * (1 - champion_rate) / ratio
    root = stats.norm.isf(false_alarm_rate / 2) * math.sqrt(alike) + stats.norm.ppf(power) * math.sqrt(apart)
    return _rounded_up((root / effect) ** 2, ratio)


def requests_for_means(
    std: float,
    effect: float,
    *,
    candidate_share: float = 0.5,
    false_alarm_rate: float = 0.05,
    power: float = 0.8,
) -> SampleSize:
    r"""Return the requests with which a single two-sided t-test at the end finds a difference between two means.

    The power is that of the noncentral t distribution with noncentrality :math:`\frac{\delta}{\sigma}\big/\sqrt{1/n_0 +
    1/n_1}`: Cohen (1988), *Statistical Power Analysis for the Behavioral Sciences*, chapter 2.

    Parameters
    ----------
    std
        Standard deviation within an arm, above 0.
    effect
        Smallest difference that matters, not 0.
    candidate_share, false_alarm_rate, power
        As for `requests_for_rates`.

    Examples
    --------
    >>> requests_for_means(10.0, 1.0)
    SampleSize(candidate=1571, champion=1571)
    """
    check_open_unit_interval(candidate_share=candidate_share)
    check_power(false_alarm_rate, power)
    check_positive(std=std)
    _check_effect(effect)
    ratio = (1 - candidate_share) / candidate_share

    def missing(candidate: float) -> float:
        champion = candidate * ratio
        freedom = candidate + champion - 2
        noncentrality = abs(effect) / std / math.sqrt(1 / candidate + 1 / champion)
        critical = stats.t.isf(false_alarm_rate / 2, freedom)
        # Where SciPy's noncentral t distribution overflows, the normal distribution is as good.
        reached = stats.nct.sf(critical, freedom, noncentrality) + stats.nct.cdf(-critical, freedom, noncentrality)
        if not math.isfinite(reached):
            reached = stats.norm.sf(critical - noncentrality)
        return float(reached) - power

    # The test needs at least one degree of freedom: a request in each arm and one more.
    least = max(1.0, 1 / ratio, 3 / (1 + ratio))
    return _rounded_up(_smallest_sufficient(missing, least), ratio)


def requests_for_sequence(
    stds: tuple[float, float],
    effect: float,
    *,
    candidate_share: float = 0.5,
    confidence: float = 0.95,
    power: float = 0.8,
    expected_n: float | None = None,
) -> SampleSize:
    r"""Return about how many requests it takes until a sequence of the difference excludes 0 with probability `power`.

    This is the number at which the effect equals the radius of the interval plus the error of the estimate:

    .. math:: \delta = R(n_0, n_1) + z_{1-\beta}\sqrt{\sigma_0^2/n_0 + \sigma_1^2/n_1}

    with the radius :math:`R` of `mean_difference_sequence`; for rates, `rate_difference_sequence` has nearly the same
    radius. That the interval can exclude 0 at any earlier look is neglected, so a few percent fewer requests are
    enough. In return for the larger number, half of all tests of a true effect end far sooner, and tests of a larger
    effect sooner still.

    Parameters
    ----------
    stds
        Standard deviations of the candidate's and of the champion's values; for a rate, the root of `p (1 - p)`.
    effect
        Smallest difference that matters, not 0.
    candidate_share
        Fraction of the requests that the candidate gets, between 0 and 1.
    confidence, expected_n
        Parameters of the sequence. By default it is tuned for the resulting number of requests.
    power
        Wanted probability.

    Examples
    --------
    >>> requests_for_sequence((10.0, 10.0), 1.0)
    SampleSize(candidate=3634, champion=3634)
    """
    _check_sequence(candidate_share, confidence, power)
    check_positive(stds=min(stds))
    _check_effect(effect)
    ratio = (1 - candidate_share) / candidate_share
    variances = np.square(np.asarray(stds, dtype=np.float64))
    z = float(stats.norm.ppf(power))

    def missing(candidate: float) -> float:
        counts = np.array([candidate, candidate * ratio])
        tuning = float(counts.mean()) if expected_n is None else expected_n
        radius = float(difference_radius(counts, variances, confidence=confidence, expected_n=tuning))
        return abs(effect) - radius - z * math.sqrt(float(np.sum(variances / counts)))

    return _rounded_up(_smallest_sufficient(missing, 1e-3), ratio)


@functools.lru_cache(maxsize=256)
def requests_for_bounded_sequence(
    stds: tuple[float, float],
    effect: float,
    *,
    range_width: float,
    biases: tuple[float, float] = (0.0, 0.0),
    candidate_share: float = 0.5,
    confidence: float = 0.95,
    power: float = 0.8,
) -> SampleSize:
    r"""Return about how many requests `compare_bounded_means` needs: two sequences at half the error each.

    .. math:: \delta = R(n_0, V_0) + R(n_1, V_1) + z_{1-\beta}\sqrt{\sigma_0^2/n_0 + \sigma_1^2/n_1}, \quad
              V_i = n_i\,(\sigma_i^2 + d_i^2)

    with the radius :math:`R` of `bounded_mean_sequence` and the bias :math:`d_i` of the value that was expected of each
    arm.

    Parameters
    ----------
    stds, effect, candidate_share, confidence, power
        As for `requests_for_sequence`.
    range_width
        Difference between the upper and the lower bound of the values.
    biases
        Differences between the mean and the expected value, for the candidate and for the champion.

    Examples
    --------
    >>> requests_for_bounded_sequence((0.1, 0.1), 0.02, range_width=1.0)
    SampleSize(candidate=2416, champion=2416)
    >>> requests_for_bounded_sequence((0.1, 0.1), 0.02, range_width=1.0, biases=(0.3, 0.3)).candidate
    12863
    """
    _check_sequence(candidate_share, confidence, power)
    check_positive(stds=min(stds), range_width=range_width)
    _check_effect(effect)
    ratio = (1 - candidate_share) / candidate_share
    variances = np.square(np.asarray(stds, dtype=np.float64))
    second_moments = variances + np.square(biases)
    z = float(stats.norm.ppf(power))

    def missing(candidate: float) -> float:
        counts = np.array([candidate, candidate * ratio])
        radii = sum(
            bounded_radius(
                count,
                count * second_moment,
                range_width=range_width,
                confidence=(1 + confidence) / 2,
                expected_n=float(counts.mean()),
            )
            for count, second_moment in zip(counts, second_moments, strict=True)
        )
        return abs(effect) - radii - z * math.sqrt(float(np.sum(variances / counts)))

    return _rounded_up(_smallest_sufficient(missing, 1.0), ratio)


def _smallest_sufficient(missing: Callable[[float], float], least: float) -> float:
    """Return the smallest argument, at least `least`, at which a rising function is not negative."""
    if missing(least) >= 0:
        return least
    most = 2 * least
    while missing(most) < 0:
        most *= 2
    return float(optimize.brentq(missing, most / 2, most, xtol=1e-6, rtol=1e-12))


def _rounded_up(candidate: float, ratio: float) -> SampleSize:
    # A remainder from rounding does not count as one more request.
    return SampleSize(math.ceil(candidate - 1e-6), math.ceil(candidate * ratio - 1e-6))


def _check_effect(effect: float) -> None:
    if not math.isfinite(effect) or effect == 0:
        raise ValueError(f"effect must be finite and not 0, got {effect}")


def _check_sequence(candidate_share: float, confidence: float, power: float) -> None:
    check_open_unit_interval(candidate_share=candidate_share, confidence=confidence, power=power)
    if power <= 1 - confidence:
        raise ValueError(f"power must be greater than 1 - confidence, got power={power} and confidence={confidence}")
