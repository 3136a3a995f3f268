"""Confidence sequence for the difference of two rates, however the trials are divided between the arms."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from airflow_provider_mlops.stats.arrays import Floats
from airflow_provider_mlops.stats.checks import check_confidence
from airflow_provider_mlops.stats.intervals.interval import Interval
from airflow_provider_mlops.stats.sequences.prior_observations import prior_observations
from airflow_provider_mlops.stats.sequences.rate import bisect_crossing, log_evidence, rate_bounds, validate_counts

# Points of the grid on which the edge of the joint set is searched, and how often it is refined around the best one:
# by a factor of eight each time.
POINTS, ROUNDS = 17, 6

ENDS = np.array([0.0, 1.0])


def rate_difference_sequence(
    candidate_successes: float,
    candidate_trials: float,
    champion_successes: float,
    champion_trials: float,
    *,
    paired: bool = False,
    confidence: float = 0.95,
    expected_n: float = 1000,
) -> Interval:
    r"""Return the interval of candidate's rate minus champion's that contains the true difference at all times at once.

    Each arm has the mixture martingale :math:`M` of `rate_sequence`. A trial of an arm multiplies that arm's martingale
    by a factor with mean one, given everything before. The product of the two is therefore a martingale as well,
    *no matter which arm each trial goes to and how that depends on the past*. By Ville's inequality the true pair of
    rates stays, with probability at least :math:`1-\alpha`, in

    .. math:: \{(p_0, p_1): M_{n_0}(p_0)\, M_{n_1}(p_1) < 1/\alpha\}

    and its difference stays between the smallest and the largest difference in that set, which is convex because both
    :math:`\log M` are. Kaufmann and Koolen (2021), *Mixture martingales revisited with applications to sequential tests
    and confidence intervals*, JMLR 22(246), for products of arms' martingales under adaptive sampling; Turner and
    Grünwald (2023), *Exact anytime-valid confidence intervals for contingency tables and beyond*, Statistics and
    Probability Letters 198, for projecting a joint set of two rates. The errors of the two arms add like variances,
    while two sequences at half the error each would add their widths.

    It is exact if each arm has one rate that does not change. Canary steps, the weights of a bandit and optional
    stopping are all allowed. Counts of several replicas add.

    Parameters
    ----------
    candidate_successes, candidate_trials, champion_successes, champion_trials
        Counts; an arm may have no trials.
    paired
        Whether both arms answered the same requests, as in a shadow rollout. Outcomes of one request depend on each
        other, so their factors must not be multiplied; each arm then has a sequence at half the error (union bound).
    confidence
        Confidence level, between 0 and 1.
    expected_n
        Number of trials *of each arm* at which the interval should be about tightest. Choose it before the data.

    Examples
    --------
    >>> [round(end, 4) for end in rate_difference_sequence(450, 1000, 400, 1000)]
    [-0.0256, 0.1253]
    """
    low, high = rate_difference_bounds(
        [candidate_successes],
        [candidate_trials],
        [champion_successes],
        [champion_trials],
        paired=paired,
        confidence=confidence,
        expected_n=expected_n,
    )
    return Interval(float(low[0]), float(high[0]))


def rate_difference_bounds(
    candidate_successes: ArrayLike,
    candidate_trials: ArrayLike,
    champion_successes: ArrayLike,
    champion_trials: ArrayLike,
    *,
    paired: bool = False,
    confidence: float = 0.95,
    expected_n: float = 1000,
) -> tuple[Floats, Floats]:
    """Compute `rate_difference_sequence` for arrays of shape `(pairs,)`: lower and upper ends.

    >>> low, high = rate_difference_bounds([0, 99], [100, 100], [0, 1], [100, 100], expected_n=100)
    >>> low.round(3), high.round(3)
    (array([-0.04,  0.9 ]), array([0.04, 1.  ]))
    """
    s1, n1 = validate_counts(candidate_successes, candidate_trials)
    s0, n0 = validate_counts(champion_successes, champion_trials)
    check_confidence(confidence)
    if paired:
        halved = (1 + confidence) / 2
        low1, high1 = rate_bounds(s1, n1, confidence=halved, expected_n=expected_n)
        low0, high0 = rate_bounds(s0, n0, confidence=halved, expected_n=expected_n)
        return low1 - high0, high1 - low0
    weight = prior_observations(expected_n, 1 - confidence)
    limit = float(-np.log(1 - confidence))
    # The greatest difference is minus the least one with the arms exchanged, so one search finds both.
    least = _least_differences(np.stack([s1, s0]), np.stack([n1, n0]), weight, limit)
    return least[0], -least[1]


def _least_differences(successes: Floats, trials: Floats, weight: float, limit: float) -> Floats:
    """Return the least difference in the joint set between each arm's rate and the other's; all of shape `(2, pairs)`.

    The difference is a convex function of the other arm's rate along the edge of the set, and is minimized on a grid.
    """
    center = _least_contradicted(successes, trials, weight)
    least = log_evidence(successes, trials, center, weight)
    # The least and the greatest rate in the set, with the other rate where the evidence against it is least.
    bottom, top = bisect_crossing(
        lambda p: log_evidence(successes, trials, p, weight), center, ENDS[:, None, None], limit - least[::-1]
    )
    bottom, top = np.where(trials == 0, 0.0, bottom), np.where(trials == 0, 1.0, top)
    first, last = center[::-1], top[::-1]
    best = np.minimum(center - last, bottom - first)
    s, n, middle, enough = (part[..., None] for part in (successes, trials, center, least))
    for _ in range(ROUNDS):
        other = first[..., None] + (last - first)[..., None] * np.linspace(0, 1, POINTS)
        left = limit - log_evidence(s[::-1], n[::-1], other, weight)
        own = bisect_crossing(lambda p: log_evidence(s, n, p, weight), middle, np.zeros_like(other), left)
        own = np.where(n == 0, 0.0, own)
        # If rounding leaves no budget for this arm, only its center remains.
        difference = np.where(left <= enough, middle, own) - other
        best_point = np.argmin(difference, axis=-1, keepdims=True)
        best = np.minimum(best, np.take_along_axis(difference, best_point, axis=-1)[..., 0])
        first = np.take_along_axis(other, np.maximum(best_point - 1, 0), axis=-1)[..., 0]
        last = np.take_along_axis(other, np.minimum(best_point + 1, POINTS - 1), axis=-1)[..., 0]
    return np.asarray(np.maximum(best, -1.0))


def _least_contradicted(successes: Floats, trials: Floats, weight: float) -> Floats:
    """Return the rate with the least evidence against it, near the proportion of successes.

    It is the zero of the slope of the log evidence.
    """

    def slope(p: Floats) -> Floats:
        inside = np.clip(p, 1e-300, 1 - 1e-16)
        a, b = weight * inside, weight * (1 - inside)
        failures = trials - successes
        return np.asarray(
            weight * (special.digamma(a + successes) - special.digamma(a))
            - successes / inside
            - weight * (special.digamma(b + failures) - special.digamma(b))
            + failures / (1 - inside)
        )

    rate = bisect_crossing(slope, np.zeros_like(trials), np.ones_like(trials), np.zeros_like(trials))
    # With a single success the least evidence is next to 0, with a single failure next to 1, but not at these ends,
    # where such counts are impossible.
    rate = np.clip(rate, 1e-300, np.nextafter(1.0, 0.0))
    rate = np.where(successes == 0, 0.0, np.where(successes == trials, 1.0, rate))
    return np.where(trials == 0, 0.5, rate)
