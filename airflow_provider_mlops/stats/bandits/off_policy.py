"""What another policy would have earned, from the log of the one that ran."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from airflow_provider_mlops.stats.intervals.interval import Interval

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class OffPolicyEstimate:
    r"""The value of a policy, in reward per decision.

    Parameters
    ----------
    value, standard_error, interval
        The estimate; the interval is a normal one, for one look at the end.
    count
        Decisions in the log.
    effective_count
        Decisions of the policy itself that would tell as much: :math:`(\sum w)^2 / \sum w^2` of the weights (Kish
        1965, *Survey Sampling*). Of a hundred or fewer, believe nothing.
    largest_weight
        The greatest ratio of the policy's to the logged propensity.
    """

    value: float
    standard_error: float
    interval: Interval
    count: int
    effective_count: float
    largest_weight: float


def inverse_propensity(
    rewards: ArrayLike, propensities: ArrayLike, probabilities: ArrayLike, *, confidence: float = 0.95
) -> OffPolicyEstimate:
    r"""IPS: the mean of rewards weighted by how much more probable the policy makes the logged decision.

    .. math:: \hat V = \frac1n \sum_i w_i r_i, \quad w_i = \frac{\pi(a_i | x_i)}{\mu(a_i | x_i)}

    Horvitz and Thompson (1952), *A generalization of sampling without replacement from a finite universe*, JASA
    47(260). Unbiased where the logged propensities are right and nowhere 0 where the policy's are not.

    Parameters
    ----------
    rewards
        Of shape `(decisions,)`.
    propensities
        With which the logged decisions were made, above 0, of the same shape.
    probabilities
        With which the policy would make the *logged* decisions, of the same shape.
    confidence
        Of the interval.

    >>> inverse_propensity([1, 0, 1, 1], [0.5, 0.5, 0.5, 0.5], [1, 0, 1, 0]).value
    1.0
    """
    reward, weight = _weights(rewards, propensities, probabilities)
    return _estimate(weight * reward, weight, confidence)


def self_normalized(
    rewards: ArrayLike, propensities: ArrayLike, probabilities: ArrayLike, *, confidence: float = 0.95
) -> OffPolicyEstimate:
    r"""SNIPS: the weighted mean of rewards. A little biased, less variable, and within the range of the rewards.

    .. math:: \hat V = \frac{\sum_i w_i r_i}{\sum_i w_i}, \quad
              \widehat{\mathrm{se}} = \frac{\sqrt{\sum_i w_i^2 (r_i - \hat V)^2}}{\sum_i w_i}

    Swaminathan and Joachims (2015), *The self-normalized estimator for counterfactual learning*, NeurIPS 28; the
    standard error by the delta method, Owen (2013), *Monte Carlo Theory, Methods and Examples*.
    Parameters as for `inverse_propensity`. The one to use by default when there is no model of the rewards.

    Raises
    ------
    ValueError
        Also if the policy would have made none of the logged decisions.

    >>> self_normalized([1, 0, 1, 1], [0.5, 0.25, 0.5, 0.25], [1, 1, 0, 0]).value
    0.3333333333333333
    """
    reward, weight = _weights(rewards, propensities, probabilities)
    total = float(weight.sum())
    if not total > 0:
        raise ValueError("the policy would have made none of the logged decisions: the log says nothing of it")
    value = float(weight @ reward) / total
    error = float(np.sqrt(np.square(weight * (reward - value)).sum())) / total
    return _result(value, error, weight, confidence)


def doubly_robust(
    rewards: ArrayLike,
    propensities: ArrayLike,
    arms: ArrayLike,
    policy: ArrayLike,
    modelled: ArrayLike,
    *,
    confidence: float = 0.95,
) -> OffPolicyEstimate:
    r"""DR: what a model of the rewards expects of the policy, corrected by what the model missed in the log.

    .. math:: \hat V = \frac1n \sum_i \Big[\sum_a \pi(a | x_i)\, \hat r(x_i, a)
              + w_i \big(r_i - \hat r(x_i, a_i)\big)\Big]

    Dudík, Langford and Li (2011), *Doubly robust policy evaluation and learning*, ICML; Dudík, Erhan, Langford and Li
    (2014), *Doubly robust policy evaluation and optimization*, Statistical Science 29(4). Unbiased where either the
    propensities or the model are right, and the more precise the better the model. The model must not have been
    fitted to these decisions: fit it to others, or crosswise.

    Parameters
    ----------
    rewards, propensities
        As for `inverse_propensity`.
    arms
        The logged decisions, places from 0 on, of shape `(decisions,)`.
    policy
        With which probability the policy takes each arm, of shape `(decisions, arms)`; rows sum to one.
    modelled
        What the model expects of each arm, of the same shape.
    confidence
        Of the interval.

    >>> doubly_robust([1, 0], [0.5, 0.5], [0, 1], [[1, 0], [1, 0]], [[0.9, 0.2], [0.7, 0.1]]).value
    0.9
    """
    chosen = np.asarray(arms)
    target, expected = np.asarray(policy, dtype=np.float64), np.asarray(modelled, dtype=np.float64)
    if target.ndim != 2 or target.shape != expected.shape or chosen.shape != target.shape[:1]:
        raise ValueError(
            f"policy and modelled must be of shape (decisions, arms), not {target.shape} and {expected.shape}, "
            f"for {chosen.shape} arms"
        )
    if not np.issubdtype(chosen.dtype, np.integer) or np.any(chosen < 0) or np.any(chosen >= target.shape[1]):
        raise ValueError(f"arms must be places from 0 to {target.shape[1] - 1}")
    if not np.allclose(target.sum(axis=1), 1, atol=1e-6):
        raise ValueError("the policy's probabilities must sum to one for each decision")
    rows = np.arange(chosen.size)
    reward, weight = _weights(rewards, propensities, target[rows, chosen])
    scores = np.sum(target * expected, axis=1) + weight * (reward - expected[rows, chosen])
    return _estimate(scores, weight, confidence)


def _weights(rewards: ArrayLike, propensities: ArrayLike, probabilities: ArrayLike) -> tuple[Floats, Floats]:
    """Rewards and importance weights, checked."""
    reward, logged, wanted = (np.asarray(part, dtype=np.float64) for part in (rewards, propensities, probabilities))
    if reward.ndim != 1 or not reward.shape == logged.shape == wanted.shape or reward.size < 2:
        raise ValueError("rewards, propensities and probabilities must be three vectors over two decisions or more")
    if not np.all(np.isfinite(reward)):
        raise ValueError("rewards must be finite")
    if not (np.all(logged > 0) and np.all(logged <= 1)):
        raise ValueError("logged propensities must be above 0 and at most 1")
    if not (np.all(wanted >= 0) and np.all(wanted <= 1)):
        raise ValueError("the policy's probabilities must lie between 0 and 1")
    return reward, wanted / logged


def _estimate(scores: Floats, weight: Floats, confidence: float) -> OffPolicyEstimate:
    """Of a mean of one score for each decision."""
    return _result(float(scores.mean()), float(scores.std(ddof=1) / np.sqrt(scores.size)), weight, confidence)


def _result(value: float, error: float, weight: Floats, confidence: float) -> OffPolicyEstimate:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
    half = float(stats.norm.isf((1 - confidence) / 2)) * error
    squares = float(np.square(weight).sum())
    effective = float(weight.sum()) ** 2 / squares if squares else 0.0
    return OffPolicyEstimate(
        value, error, Interval(value - half, value + half), weight.size, effective, float(weight.max())
    )
