"""The statistics of an arm of a rollout, which replicas and log segments add in any order."""

from __future__ import annotations

import json
import zlib
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from airflow_provider_mlops.stats.bandits.linear_statistics import LinearStatistics
    from airflow_provider_mlops.stats.bandits.reward_statistics import RewardStatistics
    from airflow_provider_mlops.stats.sequences.bounded_mean import BoundedMoments
    from airflow_provider_mlops.stats.sequences.clusters import ClusterSums
    from airflow_provider_mlops.stats.sequences.mean import Moments

LATENCY_EDGES: tuple[float, ...] = tuple(2.0 ** (exponent / 8) for exponent in range(-32, 129))
"""Upper edges of the latency histogram's cells in milliseconds, from 1/16 ms to 65 s; each is 9% above the previous.

A request belongs to the first cell whose edge it does not exceed; the last cell has no upper edge.
"""


CLUSTERS = 1024
"""Number of clusters that requests or users are divided among; a power of two of at most 2,048."""
LATENCY_CLUSTERS = 128
"""Number of clusters for histograms of latencies: those of `CLUSTERS`, modulo this number."""


def latency_cell(milliseconds: float) -> int:
    """Return the index of the histogram's cell in which a latency is counted.

    >>> latency_cell(0.0), latency_cell(1.0), latency_cell(1e9) == len(LATENCY_EDGES)
    (0, 32, True)
    """
    return bisect_left(LATENCY_EDGES, milliseconds)


def edge_at_least(milliseconds: float) -> float:
    """Return the first edge that is at least `milliseconds`, or the last edge if none is.

    >>> edge_at_least(50.0)
    53.81737057623773
    """
    return LATENCY_EDGES[min(latency_cell(milliseconds), len(LATENCY_EDGES) - 1)]


@dataclass(frozen=True)
class ArmStatistics:
    """The sums of one arm in one step of a rollout.

    Parameters
    ----------
    requests
        Number of requests that were answered or failed; for a shadow, of copies.
    errors
        Number of requests that failed.
    rows
        Number of rows that were answered.
    compared
        For a shadow, number of copies whose answers were compared with the champion's.
    agreed
        For a shadow, sum of the shares of rows on which both versions agreed.
    latency
        Number of answered requests in each cell of the latency histogram; see `latency_cell`.
    outputs
        Number of answered requests in each cell of predictions. A request whose rows are in several cells is divided
        between them.
    reward_count, reward_total, reward_deviations
        Number of rewards (at most one per row), their sum, and the sum of their squared deviations from their mean.
    rewards_at_bounds
        Number of rewards that are exactly `low` or `high`.
    rewards_of_rows
        Number of rewards that belong to requests with several rows.
    request_clusters
        For a sticky rollout, number of requests and of errors in each cluster; see `cluster_of`.
    expected_errors
        For a canary or an A/B test that is not sticky, number of requests and of errors at each level of
        `ExpectedFailures` above 0, that is of the requests that came after many failures.
    latency_clusters
        For a sticky rollout with a latency gate, the histogram of latencies in each of `LATENCY_CLUSTERS` clusters.
    reward_clusters
        Sums of weights and of weighted rewards in each cluster. The weight is 1, or the inverse of the propensity if
        `RolloutPlan.weighs_rewards`.
    gram
        For a contextual bandit, the sum over the rewards of the products of every two features, row by row.
    response
        For a contextual bandit, the sum over the rewards of the products of reward and feature.

    Examples
    --------
    >>> both = ArmStatistics(requests=2, latency={3: 2}) + ArmStatistics(requests=1, latency={3: 1})
    >>> both.requests, both.latency
    (3, {3: 3})
    """

    requests: int = 0
    errors: int = 0
    rows: int = 0
    compared: int = 0
    agreed: float = 0.0
    latency: Mapping[int, int] = field(default_factory=dict)
    outputs: Mapping[int, float] = field(default_factory=dict)
    reward_count: int = 0
    reward_total: float = 0.0
    reward_deviations: float = 0.0
    rewards_at_bounds: int = 0
    rewards_of_rows: int = 0
    request_clusters: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    expected_errors: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    latency_clusters: Mapping[int, Mapping[int, int]] = field(default_factory=dict)
    reward_clusters: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    gram: tuple[float, ...] = ()
    response: tuple[float, ...] = ()

    def __add__(self, other: ArmStatistics) -> ArmStatistics:
        """Return the sums of both."""
        sums = {item.name: _add(getattr(self, item.name), getattr(other, item.name)) for item in fields(self)}
        sums["reward_deviations"] = (self.moments() + other.moments()).deviations
        return ArmStatistics(**sums)

    @classmethod
    def sum(cls, parts: Iterable[ArmStatistics]) -> ArmStatistics:
        """Return the sums of any number of statistics."""
        total = ArmStatistics()
        for part in parts:
            total = total + part
        return total

    def to_json(self) -> str:
        """Return the statistics in the form that `from_json` reads, without sums that are zero."""
        return json.dumps({item.name: value for item in fields(self) if (value := getattr(self, item.name))})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the statistics that `to_json` wrote."""
        content: dict[str, Any] = json.loads(text)
        for name in _MAPPINGS:
            if name in content:
                content[name] = {int(cell): _from_json(value) for cell, value in content[name].items()}
        for name in ("gram", "response"):
            if name in content:
                content[name] = tuple(content[name])
        return cls(**content)

    def latency_counts(self) -> list[int]:
        """Return the number of requests in each cell of the histogram with `LATENCY_EDGES`."""
        return [self.latency.get(cell, 0) for cell in range(len(LATENCY_EDGES) + 1)]

    def output_counts(self, cells: int) -> list[float]:
        """Return the number of requests in each cell of predictions."""
        return [self.outputs.get(cell, 0.0) for cell in range(cells)]

    def moments(self) -> Moments:
        """Return the moments of the rewards."""
        from airflow_provider_mlops.stats.sequences.mean import Moments

        return Moments(self.reward_count, self.reward_total, self.reward_deviations)

    def bounded_moments(self, expected_mean: float) -> BoundedMoments:
        """Return the moments of bounded rewards around an estimate of their mean that was made before the data."""
        from airflow_provider_mlops.stats.sequences.bounded_mean import BoundedMoments

        return BoundedMoments.around(expected_mean, self.moments())


def over_all_steps(statistics: Mapping[tuple[int, str], ArmStatistics]) -> dict[str, ArmStatistics]:
    """Return the sums of each arm over all steps.

    >>> two, three = ArmStatistics(requests=2), ArmStatistics(requests=3)
    >>> over_all_steps({(0, "champion"): two, (1, "champion"): three})["champion"].requests
    5
    """
    totals: dict[str, ArmStatistics] = {}
    for (_, arm), part in statistics.items():
        totals[arm] = totals.get(arm, ArmStatistics()) + part
    return totals


def reward_statistics(arms: Sequence[ArmStatistics], *, mirror: float | None = None) -> RewardStatistics:
    """Return the rewards of several arms, in the form that `stats.bandits` takes.

    Parameters
    ----------
    mirror
        Number to subtract each reward from if smaller rewards are better; see `Reward.mirror`.
    """
    import numpy as np

    from airflow_provider_mlops.stats.bandits.reward_statistics import RewardStatistics

    count, total, deviations = (
        np.array([float(getattr(arm, name)) for arm in arms])
        for name in ("reward_count", "reward_total", "reward_deviations")
    )
    return RewardStatistics(count, total if mirror is None else mirror * count - total, deviations)


def linear_statistics(arms: Sequence[ArmStatistics], features: int, *, mirror: float | None = None) -> LinearStatistics:
    """Return the sums for the linear models of several arms, in the form that `stats.bandits` takes.

    The first feature is always one.
    """
    import numpy as np

    from airflow_provider_mlops.stats.bandits.linear_statistics import LinearStatistics

    gram = np.zeros((len(arms), features, features))
    response = np.zeros((len(arms), features))
    for position, arm in enumerate(arms):
        if arm.gram:
            gram[position] = np.reshape(arm.gram, (features, features))
            response[position] = arm.response
    if mirror is not None:
        response = mirror * gram[:, 0, :] - response
    return LinearStatistics(np.array([float(arm.reward_count) for arm in arms]), gram, response)


def cluster_sums(steps: Sequence[Mapping[int, tuple[float, float]]]) -> ClusterSums:
    """Return the sums of an arm's clusters, with a stratum for each step."""
    from airflow_provider_mlops.stats.sequences.clusters import ClusterSums

    return ClusterSums.of(steps, CLUSTERS)


def cluster_of(key: str | None, prediction_id: str) -> int:
    """Return the cluster of what was assigned at random: the user with a sticky key, or else the request.

    A key is a hash in hexadecimal, whose first 53 bits also select the version. The cluster depends on its last bits.

    >>> cluster_of("00000000000007ff", "any"), cluster_of("00000000000007ff", "other"), cluster_of(None, "any")
    (1023, 1023, 948)
    """
    return (int(key, 16) if key is not None else zlib.crc32(prediction_id.encode())) % CLUSTERS


_MAPPINGS = tuple(item.name for item in fields(ArmStatistics) if item.default_factory is dict)


def _from_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {int(cell): count for cell, count in value.items()}
    return tuple(value) if isinstance(value, list) else value


def _add(first: Any, second: Any) -> Any:
    if isinstance(first, Mapping):
        sums = dict(first)
        for cell, value in second.items():
            sums[cell] = _add(sums[cell], value) if cell in sums else value
        return sums
    if isinstance(first, tuple):
        return tuple(a + b for a, b in zip(first, second, strict=True)) if first and second else first or second
    return first + second
