"""Estimates of what another policy would have earned, from the log of the policy that ran."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from airflow_provider_mlops.stats.arrays import Floats
from airflow_provider_mlops.stats.checks import check_confidence
from airflow_provider_mlops.stats.intervals.interval import Interval

MIN_EFFECTIVE_COUNT = 200.0
"""Effective decisions that an interval requires."""
MIN_SPREAD = 40.0
"""Decisions that the standard error must come from, as :math:`(\\sum s^2)^2 / \\sum s^4` of the scores' deviations."""


@dataclass(frozen=True, slots=True)
class OffPolicyEstimate:
    r"""The estimated value of a policy, in reward per decision.

    Parameters
    ----------
    value, standard_error, interval
        The estimate, its standard error and its interval, valid for one look at the end. The interval is None if it
        would not cover the value as often as stated: with fewer than `MIN_EFFECTIVE_COUNT` effective decisions, or if
        the standard error comes from fewer than `MIN_SPREAD` of them, such as a few large rewards.
    count
        Number of decisions in the log.
    effective_count
        Number of decisions of the policy itself that would be as informative: :math:`(\sum w)^2 / \sum w^2` of the
        weights (Kish 1965, *Survey Sampling*).
    largest_weight
        Greatest ratio of the policy's propensity to the logged one.
    """

    value: float
    standard_error: float
    interval: Interval | None
    count: int
    effective_count: float
    largest_weight: float


def inverse_propensity(
    rewards: ArrayLike, propensities: ArrayLike, probabilities: ArrayLike, *, confidence: float = 0.95
) -> OffPolicyEstimate:
    r"""Estimate the value by inverse propensity scoring (IPS): the mean of weighted rewards.

    The weight is how much more probable the policy makes the logged decision:

    .. math:: \hat V = \frac1n \sum_i w_i r_i, \quad w_i = \frac{\pi(a_i | x_i)}{\mu(a_i | x_i)}

    Horvitz and Thompson (1952), *A generalization of sampling without replacement from a finite universe*, JASA
    47(260). Unbiased if the logged propensities are right and are 0 only where the policy's are.

    Parameters
    ----------
    rewards
        Reward of each decision, shape `(decisions,)`.
    propensities
        Probabilities with which the logged decisions were made, above 0, shape `(decisions,)`.
    probabilities
        Probabilities with which the policy would make the *logged* decisions, shape `(decisions,)`.
    confidence
        Confidence level of the interval, between 0 and 1.

    Examples
    --------
    >>> inverse_propensity([1, 0, 1, 1], [0.5, 0.5, 0.5, 0.5], [1, 0, 1, 0]).value
    1.0
    """
    reward, weight = _rewards_and_weights(rewards, propensities, probabilities)
    return _estimate_from_scores(weight * reward, weight, confidence)


def self_normalized(
    rewards: ArrayLike, propensities: ArrayLike, probabilities: ArrayLike, *, confidence: float = 0.95
) -> OffPolicyEstimate:
    r"""Estimate the value by self-normalized IPS (SNIPS): the weighted mean of rewards.

    It is slightly biased, varies less than IPS, and stays within the range of the rewards. Use it by default if there
    is no model of the rewards.

    .. math:: \hat V = \frac{\sum_i w_i r_i}{\sum_i w_i}, \quad
              \widehat{\mathrm{se}} = \frac{1}{W} \sqrt{\sum_i \Big(\frac{w_i (r_i - \hat V)}{1 - w_i / W}\Big)^2},
              \quad W = \sum_i w_i

    Swaminathan and Joachims (2015), *The self-normalized estimator for counterfactual learning*, NeurIPS 28; the
    standard error by the delta method with the jackknife's correction, Owen (2013), *Monte Carlo Theory, Methods and
    Examples*. The parameters are
    those of `inverse_propensity`.

    Raises
    ------
    ValueError
        If `inverse_propensity` does, or if the policy assigns zero probability to every logged decision.

    Examples
    --------
    >>> self_normalized([1, 0, 1, 1], [0.5, 0.25, 0.5, 0.25], [1, 1, 0, 0]).value
    0.3333333333333333
    """
    reward, weight = _rewards_and_weights(rewards, propensities, probabilities)
    total = float(weight.sum())
    if not total > 0:
        raise ValueError(
            "the policy assigns zero probability to every logged decision, so its value cannot be estimated"
        )
    value = float(weight @ reward) / total
    # A decision with a large share of the weight pulls the estimate toward its own reward: the jackknife corrects that.
    leverage = np.minimum(weight / total, 0.99)
    return _estimate_with_interval(value, weight * (reward - value) / (1 - leverage) / total, weight, confidence)


def doubly_robust(
    rewards: ArrayLike,
    propensities: ArrayLike,
    arms: ArrayLike,
    policy: ArrayLike,
    predicted_rewards: ArrayLike,
    *,
    confidence: float = 0.95,
) -> OffPolicyEstimate:
    r"""Estimate the value by the doubly robust method: a model's prediction, corrected by its errors in the log.

    .. math:: \hat V = \frac1n \sum_i \Big[\sum_a \pi(a | x_i)\, \hat r(x_i, a)
              + w_i \big(r_i - \hat r(x_i, a_i)\big)\Big]

    Dudík, Langford and Li (2011), *Doubly robust policy evaluation and learning*, ICML; Dudík, Erhan, Langford and Li
    (2014), *Doubly robust policy evaluation and optimization*, Statistical Science 29(4). Unbiased if either the
    propensities or the model are right, and more precise with a better model. The model must not have been fitted to
    these decisions: fit it to others, or use `cross_fitted_rewards`.

    Parameters
    ----------
    rewards, propensities
        As for `inverse_propensity`.
    arms
        Index of the arm of each logged decision, from 0, shape `(decisions,)`.
    policy
        Probability with which the policy takes each arm, shape `(decisions, arms)`; rows sum to one.
    predicted_rewards
        Reward that the model predicts for each arm, shape `(decisions, arms)`.
    confidence
        Confidence level of the interval, between 0 and 1.

    Examples
    --------
    >>> doubly_robust([1, 0], [0.5, 0.5], [0, 1], [[1, 0], [1, 0]], [[0.9, 0.2], [0.7, 0.1]]).value
    0.9
    """
    chosen = np.asarray(arms)
    target, expected = np.asarray(policy, dtype=np.float64), np.asarray(predicted_rewards, dtype=np.float64)
    if target.ndim != 2 or target.shape != expected.shape or chosen.shape != target.shape[:1]:
        raise ValueError(
            "policy and predicted_rewards must have shape (decisions, arms), and arms shape (decisions,), "
            f"got {target.shape}, {expected.shape} and {chosen.shape}"
        )
    if not np.issubdtype(chosen.dtype, np.integer) or np.any(chosen < 0) or np.any(chosen >= target.shape[1]):
        raise ValueError(f"arms must be integers from 0 to {target.shape[1] - 1}")
    if not np.allclose(target.sum(axis=1), 1, atol=1e-6):
        raise ValueError("policy must sum to 1 for each decision")
    rows = np.arange(chosen.size)
    reward, weight = _rewards_and_weights(rewards, propensities, target[rows, chosen])
    scores = np.sum(target * expected, axis=1) + weight * (reward - expected[rows, chosen])
    return _estimate_from_scores(scores, weight, confidence)


def _rewards_and_weights(
    rewards: ArrayLike, propensities: ArrayLike, probabilities: ArrayLike
) -> tuple[Floats, Floats]:
    """Return rewards and importance weights, after validation."""
    reward, logged, wanted = (np.asarray(part, dtype=np.float64) for part in (rewards, propensities, probabilities))
    if reward.ndim != 1 or not reward.shape == logged.shape == wanted.shape or reward.size < 2:
        raise ValueError(
            "rewards, propensities and probabilities must be one-dimensional, with at least two values, and of equal "
            f"length, got shapes {reward.shape}, {logged.shape} and {wanted.shape}"
        )
    if not np.all(np.isfinite(reward)):
        raise ValueError("rewards must be finite")
    if not (np.all(logged > 0) and np.all(logged <= 1)):
        raise ValueError(
            f"propensities must be above 0 and at most 1, got values from {logged.min()} to {logged.max()}"
        )
    if not (np.all(wanted >= 0) and np.all(wanted <= 1)):
        raise ValueError(f"probabilities must be between 0 and 1, got values from {wanted.min()} to {wanted.max()}")
    return reward, wanted / logged


def _estimate_from_scores(scores: Floats, weight: Floats, confidence: float) -> OffPolicyEstimate:
    """Return the estimate from one score per decision."""
    value, count = float(scores.mean()), scores.size
    return _estimate_with_interval(value, (scores - value) / np.sqrt(count * (count - 1)), weight, confidence)


def _estimate_with_interval(value: float, deviations: Floats, weight: Floats, confidence: float) -> OffPolicyEstimate:
    """Return the estimate whose error is the sum of independent deviations."""
    check_confidence(confidence)
    error = float(np.sqrt(np.square(deviations).sum()))
    fourth = float((deviations**4).sum())
    spread = error**4 / fourth if fourth > 0 else 0.0
    squares = float(np.square(weight).sum())
    effective = float(weight.sum()) ** 2 / squares if squares else 0.0
    interval = None
    if effective >= MIN_EFFECTIVE_COUNT and spread >= MIN_SPREAD:
        half = float(stats.t.isf((1 - confidence) / 2, effective - 1)) * error
        interval = Interval(value - half, value + half)
    return OffPolicyEstimate(value, error, interval, weight.size, effective, float(weight.max()))
