"""What each arm can be expected to earn, learnt from other decisions than those it is asked for."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def crosswise_rewards(
    features: ArrayLike, arms: ArrayLike, rewards: ArrayLike, count: int, *, folds: int = 5, strength: float = 1.0
) -> Floats:
    r"""Of shape `(decisions, arms)`: a ridge regression for each arm, fitted to the decisions of the other folds.

    .. math:: \hat r(x, a) = x^\top \Big(\lambda I + \sum_{i: a_i = a} x_i x_i^\top\Big)^{-1}
              \sum_{i: a_i = a} x_i r_i

    This is the cross-fitting that `off_policy.doubly_robust` asks for: Chernozhukov et al. (2018), *Double/debiased
    machine learning for treatment and structural parameters*, The Econometrics Journal 21(1).

    Parameters
    ----------
    features
        Of the decisions, of shape `(decisions, features)`; a column of ones is the intercept.
    arms
        Logged decisions, places from 0 to below `count`, of shape `(decisions,)`.
    rewards
        Of the same shape.
    count
        How many arms there are.
    folds
        Decision `i` belongs to fold `i % folds`.
    strength
        Of the ridge. An arm without decisions is expected to earn nothing.

    >>> crosswise_rewards([[1.0]] * 4, [0, 0, 1, 1], [1, 1, 0, 0], 2, folds=2, strength=1e-9).round(6).tolist()
    [[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]
    """
    x, a, r = np.asarray(features, dtype=np.float64), np.asarray(arms), np.asarray(rewards, dtype=np.float64)
    if x.ndim != 2 or a.shape != r.shape or a.shape != x.shape[:1]:
        raise ValueError(f"one arm and one reward for each row of features, not {a.shape}, {r.shape} and {x.shape}")
    if folds < 2 or not strength > 0:
        raise ValueError(f"folds must be at least 2 and strength above 0, not {folds} and {strength}")
    fold = np.arange(a.size) % folds
    expected = np.zeros((a.size, count))
    for place in range(count):
        for left_out in range(folds):
            used = (fold != left_out) & (a == place)
            gram = x[used].T @ x[used] + strength * np.eye(x.shape[1])
            expected[fold == left_out, place] = x[fold == left_out] @ np.linalg.solve(gram, x[used].T @ r[used])
    return expected
