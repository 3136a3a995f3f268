"""Exact test of two rates that are compared at the same times: it stays valid if both rates vary together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from airflow_provider_mlops.stats.arrays import Floats
from airflow_provider_mlops.stats.checks import check_confidence
from airflow_provider_mlops.stats.intervals.interval import Interval
from airflow_provider_mlops.stats.sequences.prior_observations import prior_observations
from airflow_provider_mlops.stats.sequences.rate import bisect_crossing, log_evidence

# Bets of the mixture, in units of the relative difference of the rates. More of them hardly tighten the interval.
_SMALLEST_BET, _BETS = 0.005, 24
# Part of the greatest bet that is allowed; with all of it, a single surprise would end a bet for good.
_LARGEST_PART = 0.98
# A correct split is taken for a wrong one with at most this probability.
_SPLIT_ERROR = 1e-4


class ConcurrentCounts(NamedTuple):
    """Counts of a stretch of time in which each request was given to the candidate with the same probability.

    Parameters
    ----------
    share
        Probability with which a request was given to the candidate. A stretch in which it is 0 or 1 compares nothing.
    expected
        Rate that was expected of both arms, known before each of these requests, for example from the requests just
        before. Any number between 0 and 1 is valid; the closer it is to the rates, the tighter is the interval.
    """

    candidate_successes: float
    candidate_trials: float
    champion_successes: float
    champion_trials: float
    share: float
    expected: float = 0.0


def concurrent_rate_difference(stretches: Sequence[ConcurrentCounts], *, confidence: float = 0.95) -> Interval:
    r"""Return the interval of candidate's rate minus champion's, from requests that were assigned at random.

    A request is given to the candidate with the known probability :math:`\pi`. If it has the outcome :math:`y`, and
    :math:`m` was expected before, the score :math:`z = (y-m)/\pi` for the candidate and :math:`z = -(y-m)/(1-\pi)` for
    the champion has the expectation :math:`p_1 - p_0`, whatever :math:`m` and the two rates are at that moment. For a
    difference of at most :math:`\delta` and :math:`\lambda \ge 0`, :math:`\prod (1 + \lambda (z - \delta))` is
    therefore a supermartingale, even if both rates rise and fall together, as in an outage of something that both
    versions use. A mixture over :math:`\lambda` of such products excludes :math:`\delta` once it reaches
    :math:`2/\alpha`, and likewise on the other side: betting by Waudby-Smith and Ramdas (2024), *Estimating means of
    bounded random variables by betting*, JRSS B 86(1), on the augmented inverse-propensity score of Robins, Rotnitzky
    and Zhao (1994). :math:`\lambda` is a multiple of :math:`\pi(1-\pi)`, so that the products of several stretches can
    be multiplied.

    With :math:`m = 0` and :math:`\delta = 0`, it tests, given that a request failed, whether it was the candidate's
    with probability :math:`\pi`. In an outage, which version had each failing request is pure chance, and this chance
    widens the interval. With :math:`m` near 1 in the outage, the failures are expected, and hardly widen it.

    It holds its level from the first request on, for any number of looks. If the difference itself varies, an end of
    the interval is excluded only if it is wrong at some time.

    Parameters
    ----------
    stretches
        Counts of each stretch of time with its share. An empty sequence excludes nothing.
    confidence
        Confidence level, between 0 and 1.

    Examples
    --------
    >>> counts = ConcurrentCounts(40, 5000, 9, 5000, share=0.5)
    >>> [round(end, 4) for end in concurrent_rate_difference([counts])]
    [0.0017, 0.0116]
    """
    check_confidence(confidence)
    usable = [stretch for stretch in stretches if 0 < stretch.share < 1]
    if not usable:
        return Interval(-1.0, 1.0)
    x1, n1, x0, n0, share, expected = np.array(usable, dtype=np.float64).T[:, None, :]
    low, high = concurrent_rate_bounds(x1, n1, x0, n0, share, expected, confidence=confidence)
    return Interval(float(low[0]), float(high[0]))


def concurrent_rate_bounds(
    candidate_successes: ArrayLike,
    candidate_trials: ArrayLike,
    champion_successes: ArrayLike,
    champion_trials: ArrayLike,
    share: ArrayLike,
    expected: ArrayLike = 0.0,
    *,
    confidence: float = 0.95,
) -> tuple[Floats, Floats]:
    """Compute `concurrent_rate_difference` for arrays of shape `(rollouts, stretches)`: lower and upper ends.

    >>> low, high = concurrent_rate_bounds([[9]], [[5000]], [[40]], [[5000]], [[0.5]])
    >>> low.round(4), high.round(4)
    (array([-0.0116]), array([-0.0017]))
    """
    x1, n1, x0, n0, pi, m = (
        np.asarray(part, dtype=np.float64)
        for part in np.broadcast_arrays(
            candidate_successes, candidate_trials, champion_successes, champion_trials, share, expected
        )
    )
    if not np.all((pi > 0) & (pi < 1)):
        raise ValueError(f"share must be between 0 and 1, got {pi}")
    if not np.all((m >= 0) & (m <= 1)):
        raise ValueError(f"expected must be at least 0 and at most 1, got {m}")
    if not np.all((x1 >= 0) & (x1 <= n1) & (x0 >= 0) & (x0 <= n0)):
        raise ValueError("0 <= successes <= trials is required for both arms")
    limit = np.full(len(x1), math.log(2 / (1 - confidence)))
    ends = np.zeros_like(limit)
    # The evidence that the difference is greater than d grows as d falls, so its crossing is the lower end.
    low = bisect_crossing(
        lambda d: log_evidence_of_greater((x1, n1), (x0, n0), pi, d[:, None], m), ends + 1.0, ends - 1.0, limit
    )
    high = -bisect_crossing(
        lambda d: log_evidence_of_greater((x0, n0), (x1, n1), 1 - pi, d[:, None], m), ends + 1.0, ends - 1.0, limit
    )
    return low, high


def log_evidence_of_greater(
    own: tuple[Floats, Floats],
    other: tuple[Floats, Floats],
    share: Floats,
    difference: ArrayLike,
    expected: ArrayLike = 0.0,
) -> Floats:
    """Return the log evidence that an arm's rate minus the other's is greater than `difference`.

    Parameters
    ----------
    own, other
        Successes and trials of the arm and of the other one, each of shape `(..., stretches)`.
    share
        Probability with which a trial is given to the arm, between 0 and 1.
    difference
        Difference that is tested, above -1 and below 1; its last axis has the length one.
    expected
        Rate that was expected of both arms before each trial.

    Returns
    -------
    Floats
        The shape of the counts without their last axis.
    """
    pi, d = share[..., None, :], np.asarray(difference, dtype=np.float64)[..., None]
    m = np.broadcast_to(np.asarray(expected, dtype=np.float64), share.shape)[..., None, :]
    # What each outcome wins or loses for a bet of one.
    tested = d * pi * (1 - pi)
    gains = (
        (1 - m) * (1 - pi) - tested,
        -m * (1 - pi) - tested,
        -(1 - m) * pi - tested,
        m * pi - tested,
    )
    largest = -1 / np.minimum.reduce(np.broadcast_arrays(*gains))
    bets = np.geomspace(_SMALLEST_BET, 1 / float(share.min()), _BETS)[:, None]
    bet = np.minimum(bets, _LARGEST_PART * largest)
    (x1, n1), (x0, n0) = ([part[..., None, :] for part in arm] for arm in (own, other))
    counts = (x1, n1 - x1, x0, n0 - x0)
    products = sum(count * np.log1p(bet * gain) for count, gain in zip(counts, gains, strict=True)).sum(axis=-1)
    greatest = products.max(axis=-1, keepdims=True)
    return np.asarray(greatest[..., 0] + np.log(np.mean(np.exp(products - greatest), axis=-1)), dtype=np.float64)


def fits_shares(stretches: Sequence[ConcurrentCounts]) -> bool:
    """Return whether the numbers of requests fit the shares with which they should have been assigned.

    It is a sequential test for a sample ratio mismatch: Lindon and Malek (2022), *Anytime-valid inference for
    multinomial count data*, NeurIPS 35. If the numbers do not fit, `concurrent_rate_difference` is not valid.

    >>> fits_shares([ConcurrentCounts(0, 50, 0, 950, 0.05)]), fits_shares([ConcurrentCounts(0, 50, 0, 4000, 0.05)])
    (True, False)
    """
    limit = -math.log(_SPLIT_ERROR / max(1, len(stretches)))
    weight = prior_observations(1000, _SPLIT_ERROR)
    return all(
        float(log_evidence(part.candidate_trials, part.candidate_trials + part.champion_trials, part.share, weight))
        < limit
        for part in stretches
    )
