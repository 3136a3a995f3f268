"""Confidence sequence for a rate: an interval that stays valid even if you look after every observation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from airflow_provider_mlops.stats.arrays import Floats
from airflow_provider_mlops.stats.checks import check_confidence
from airflow_provider_mlops.stats.intervals.interval import Interval
from airflow_provider_mlops.stats.sequences.prior_observations import prior_observations

Side = Literal["both", "low", "high"]

# Halvings of an interval of length at most one, to less than 1e-14.
HALVINGS = 48


def rate_sequence(
    successes: float, trials: float, *, confidence: float = 0.95, expected_n: float = 1000, side: Side = "both"
) -> Interval:
    r"""Return the interval for a rate that contains the true rate after every number of trials at once.

    The probability that it *ever* misses is at most one minus the confidence, so you may look after each trial, and
    stop, continue or act on it at any time. It inverts Robbins' mixture martingale: a rate :math:`p` is excluded once

    .. math:: M_n(p) = \frac{B(cp + s,\; c(1-p) + n - s)}{B(cp,\; c(1-p))\; p^s (1-p)^{n-s}} \ge \frac 1\alpha

    which by Ville's inequality happens to the true rate with probability at most :math:`\alpha`. Robbins (1970),
    *Statistical methods related to the law of the iterated logarithm*, Annals of Mathematical Statistics 41(5); Howard,
    Ramdas, McAuliffe and Sekhon (2021), *Time-uniform, nonparametric, nonasymptotic confidence sequences*, Annals of
    Statistics 49(2), section 3.2 and appendix A.3 (the beta-binomial mixture, two-sided and, with the mixture truncated
    at :math:`p`, one-sided). :math:`\log M_n` is convex in :math:`p` and at most 0 at :math:`s/n`, so the rates that
    are left form an interval that contains :math:`s/n`.

    It is valid for outcomes with a constant rate given the past. It is also valid for the mean of *any* values between
    0 and 1, with their sum as `successes`, because :math:`(\theta/p)^x((1-\theta)/(1-p))^{1-x}` is below its chord; for
    values that vary little, `bounded_mean_sequence` is narrower.

    Parameters
    ----------
    successes, trials
        Counts with `0 <= successes <= trials`. Without trials the interval is from 0 to 1.
    confidence
        Confidence level, between 0 and 1.
    expected_n
        Number of trials at which the interval should be tightest. Choose it before the data.
    side
        `low` bounds the rate only from below (the upper end is 1), `high` only from above.

    Examples
    --------
    >>> [round(end, 4) for end in rate_sequence(80, 100)]
    [0.619, 0.9177]
    >>> [round(end, 4) for end in rate_sequence(80, 100, side="low")]
    [0.6306, 1.0]
    """
    low, high = rate_bounds([successes], [trials], confidence=confidence, expected_n=expected_n, side=side)
    return Interval(float(low[0]), float(high[0]))


def rate_bounds(
    successes: ArrayLike, trials: ArrayLike, *, confidence: float = 0.95, expected_n: float = 1000, side: Side = "both"
) -> tuple[Floats, Floats]:
    """Compute `rate_sequence` for arrays: lower and upper ends in the shape of the counts.

    >>> low, high = rate_bounds([0, 8], [10, 10], expected_n=10)
    >>> low.round(3), high.round(3)
    (array([0.   , 0.325]), array([0.345, 0.999]))
    """
    s, n = validate_counts(successes, trials)
    check_confidence(confidence)
    error = 1 - confidence
    weight = prior_observations(expected_n, error if side == "both" else min(2 * error, 0.999))
    center = s / np.maximum(n, 1e-300)
    limit = np.full_like(s, -np.log(error))
    low, high = np.zeros_like(s), np.ones_like(s)
    if side == "both":
        low = bisect_crossing(lambda rate: log_evidence(s, n, rate, weight), center, low, limit)
        high = bisect_crossing(lambda rate: log_evidence(s, n, rate, weight), center, high, limit)
    elif side == "low":
        low = bisect_crossing(lambda rate: log_evidence_above(s, n, rate, weight), center, low, limit)
    else:
        high = 1 - bisect_crossing(lambda rate: log_evidence_above(n - s, n, rate, weight), 1 - center, low, limit)
    return np.where((n == 0) | (s == 0), 0.0, low), np.where((n == 0) | (s == n), 1.0, high)


def log_evidence(successes: ArrayLike, trials: ArrayLike, rate: ArrayLike, weight: float) -> Floats:
    """Return the log of the mixture martingale :math:`M_n(p)` of `rate_sequence`, for arrays that broadcast.

    Parameters
    ----------
    successes, trials
        Counts.
    rate
        Rate that the evidence is against, from 0 to 1. The result is infinite if the counts are impossible at this
        rate.
    weight
        Number of observations that the mixture is worth: `prior_observations`.

    Examples
    --------
    >>> round(float(log_evidence(9, 10, 0.5, 1.0)), 3)
    2.251
    """
    s, n = np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    p = np.asarray(rate, dtype=np.float64)
    inside = np.clip(p, 1e-300, 1 - 1e-16)
    a, b = weight * inside, weight * (1 - inside)
    mixture = special.betaln(a + s, b + n - s) - special.betaln(a, b)
    evidence = mixture - special.xlogy(s, inside) - special.xlog1py(n - s, -inside)
    if np.all(inside == p):
        return np.asarray(evidence, dtype=np.float64)
    # The only impossible outcomes are a success at rate 0 and a failure at rate 1.
    evidence = np.where((p <= 0) & (s == 0) | (p >= 1) & (s == n), 0.0, evidence)
    return np.asarray(np.where((p <= 0) & (s > 0) | (p >= 1) & (s < n), np.inf, evidence), dtype=np.float64)


def log_evidence_above(successes: ArrayLike, trials: ArrayLike, rate: ArrayLike, weight: float) -> Floats:
    """Return the log evidence against all rates up to `rate`, from a mixture over higher rates only.

    Each likelihood ratio of a higher rate to `rate` shrinks on average under any lower rate, so the mixture is a
    supermartingale under all of them.

    >>> round(float(log_evidence_above(9, 10, 0.5, 1.0)), 3)
    2.94
    """
    s, n = np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    p = np.clip(np.asarray(rate, dtype=np.float64), 1e-300, 1 - 1e-16)
    a, b = weight * p, weight * (1 - p)
    with np.errstate(divide="ignore"):
        above = np.log(special.betaincc(a + s, b + n - s, p)) - np.log(special.betaincc(a, b, p))
    return np.asarray(log_evidence(s, n, p, weight) + above, dtype=np.float64)


def bisect_crossing(
    evidence: Callable[[Floats], Floats], inside: ArrayLike, outside: ArrayLike, limit: Floats
) -> Floats:
    """Find by bisection where evidence that grows from `inside` to `outside` crosses a limit.

    The result is the end just outside, so that rounding makes an interval wider and not narrower. It is `outside` if
    the evidence never crosses the limit.

    >>> bisect_crossing(lambda x: x**2, [0.0], [2.0], np.array([2.0])).round(6)
    array([1.414214])
    """
    within, without = np.broadcast_arrays(np.asarray(inside, dtype=np.float64), np.asarray(outside, dtype=np.float64))
    within, without = within.copy(), without.copy()
    for _ in range(HALVINGS):
        middle = (within + without) / 2
        kept = evidence(middle) < limit
        within, without = np.where(kept, middle, within), np.where(kept, without, middle)
    return without


def validate_counts(successes: ArrayLike, trials: ArrayLike) -> tuple[Floats, Floats]:
    """Return successes and trials as floats of one shape, after validation.

    Raises
    ------
    ValueError
        If a count is negative or not finite, or there are more successes than trials.

    Examples
    --------
    >>> validate_counts([1, 2], 3)
    (array([1., 2.]), array([3., 3.]))
    """
    s, n = np.broadcast_arrays(np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64))
    if not (np.all(np.isfinite(n)) and np.all(s >= 0) and np.all(s <= n)):
        raise ValueError(f"0 <= successes <= trials is required, got successes={successes!r}, trials={trials!r}")
    return s.copy(), n.copy()
