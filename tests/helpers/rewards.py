"""Statistics of an arm that has had given rewards."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from airflow_provider_mlops.serving.rollouts.arm_statistics import CLUSTERS, ArmStatistics
from airflow_provider_mlops.stats.sequences.mean import Moments


def rewarded(values: ArrayLike, clusters: ArrayLike | None = None, weight: float = 1.0, **fields: Any) -> ArmStatistics:
    """Each reward in a cluster of its own, as far as they reach, unless clusters are given."""
    rewards = np.asarray(values, dtype=np.float64)
    places = np.arange(rewards.size) if clusters is None else np.asarray(clusters)
    counts = np.bincount(places % CLUSTERS, minlength=CLUSTERS) * weight
    totals = np.bincount(places % CLUSTERS, weights=rewards, minlength=CLUSTERS) * weight
    moments = Moments.of(rewards)
    return ArmStatistics(
        reward_count=moments.count,
        reward_total=moments.total,
        reward_deviations=moments.deviations,
        reward_clusters={int(place): (counts[place], totals[place]) for place in np.flatnonzero(counts)},
        **fields,
    )


def around(mean: float, std: float, count: int, **fields: Any) -> ArmStatistics:
    """Rewards with this mean and this standard deviation."""
    values = np.random.default_rng(count).permutation(np.where(np.arange(count) % 2, 1.0, -1.0))
    return rewarded(mean + std * (values - values.mean()), **fields)
