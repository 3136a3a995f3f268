"""Expected rewards of each arm from models that were fitted to other decisions."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from airflow_provider_mlops.stats.arrays import Floats
from airflow_provider_mlops.stats.checks import check_positive


def cross_fitted_rewards(
    features: ArrayLike, arms: ArrayLike, rewards: ArrayLike, arm_count: int, *, folds: int = 5, strength: float = 1.0
) -> Floats:
    r"""Predict the reward of each arm for each decision, by ridge regressions on the decisions of other folds.

    .. math:: \hat r(x, a) = x^\top \Big(\lambda I + \sum_{i: a_i = a} x_i x_i^\top\Big)^{-1}
              \sum_{i: a_i = a} x_i r_i

    This is the cross-fitting that `off_policy.doubly_robust` needs: Chernozhukov et al. (2018), *Double/debiased
    machine learning for treatment and structural parameters*, The Econometrics Journal 21(1).

    Parameters
    ----------
    features
        Features of the decisions, shape `(decisions, features)`; a column of ones is the intercept.
    arms
        Index of the arm of each logged decision, from 0 to `arm_count - 1`, shape `(decisions,)`.
    rewards
        Reward of each decision, shape `(decisions,)`.
    arm_count
        Number of arms.
    folds
        Number of folds; decision `i` belongs to fold `i % folds`.
    strength
        Strength of the L2 regularization. For an arm without decisions the prediction is 0.

    Returns
    -------
    Floats
        Shape `(decisions, arms)`.

    Examples
    --------
    >>> cross_fitted_rewards([[1.0]] * 4, [0, 0, 1, 1], [1, 1, 0, 0], 2, folds=2, strength=1e-9).round(6).tolist()
    [[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]
    """
    x, a, r = np.asarray(features, dtype=np.float64), np.asarray(arms), np.asarray(rewards, dtype=np.float64)
    if x.ndim != 2 or a.shape != r.shape or a.shape != x.shape[:1]:
        raise ValueError(
            "arms and rewards must have one element per row of features, "
            f"got arms {a.shape}, rewards {r.shape} and features {x.shape}"
        )
    if folds < 2:
        raise ValueError(f"folds must be at least 2, got {folds}")
    check_positive(strength=strength)
    fold = np.arange(a.size) % folds
    expected = np.zeros((a.size, arm_count))
    for arm in range(arm_count):
        for left_out in range(folds):
            used = (fold != left_out) & (a == arm)
            gram = x[used].T @ x[used] + strength * np.eye(x.shape[1])
            expected[fold == left_out, arm] = x[fold == left_out] @ np.linalg.solve(gram, x[used].T @ r[used])
    return expected
