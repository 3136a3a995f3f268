"""What is counted for an arm of a rollout: sums only, so that replicas and segments add up in any order."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from airflow_provider_mlops.stats.bandits.linear_statistics import LinearStatistics
    from airflow_provider_mlops.stats.bandits.reward_statistics import RewardStatistics
    from airflow_provider_mlops.stats.sequences.bounded_mean import BoundedMoments
    from airflow_provider_mlops.stats.sequences.mean import Moments

LATENCY_EDGES: tuple[float, ...] = tuple(2.0 ** (place / 8) for place in range(-32, 129))
"""Upper ends of the latency histogram's cells in milliseconds: each 9 % above the one before, from 1/16 ms to 65 s.

A request belongs to the first cell whose end it does not exceed; the last cell has no end.
"""


def latency_cell(milliseconds: float) -> int:
    """In which cell a latency is counted.

    >>> latency_cell(0.0), latency_cell(1.0), latency_cell(1e9) == len(LATENCY_EDGES)
    (0, 32, True)
    """
    return bisect_left(LATENCY_EDGES, milliseconds)


def edge_from(milliseconds: float) -> float:
    """The first edge that is not below a limit; the last one for limits beyond it.

    >>> edge_from(50.0)
    53.81737057623773
    """
    return LATENCY_EDGES[min(latency_cell(milliseconds), len(LATENCY_EDGES) - 1)]


@dataclass(frozen=True)
class ArmStatistics:
    """The sums of one arm in one step of a rollout.

    :ivar requests: that were answered or failed; of a shadow, the copies.
    :ivar errors: those that failed.
    :ivar rows: that were answered.
    :ivar compared: of a shadow, copies whose answers were compared with the champion's.
    :ivar agreed: the sum of their shares of rows that were the same.
    :ivar latency: of the answered requests, by `latency_cell`.
    :ivar outputs: answered requests by the cell of the prediction, in shares where rows lie in several.
    :ivar reward_count: how many rewards came, each for another row.
    :ivar reward_total: their sum.
    :ivar reward_squares: the sum of their squares.
    :ivar gram: of a contextual bandit, the sum of products of every two features over the rewards, by rows.
    :ivar response: the sum of products of reward and feature.
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
    reward_squares: float = 0.0
    gram: tuple[float, ...] = ()
    response: tuple[float, ...] = ()

    def __add__(self, other: ArmStatistics) -> ArmStatistics:
        """The sums of both.

        >>> both = ArmStatistics(requests=2, latency={3: 2}) + ArmStatistics(requests=1, latency={3: 1})
        >>> both.requests, both.latency
        (3, {3: 3})
        """
        sums = {part.name: _added(getattr(self, part.name), getattr(other, part.name)) for part in fields(self)}
        return ArmStatistics(**sums)

    @classmethod
    def sum(cls, parts: Iterable[ArmStatistics]) -> ArmStatistics:
        """Of any number."""
        total = ArmStatistics()
        for part in parts:
            total = total + part
        return total

    def to_json(self) -> str:
        """What `from_json` reads; sums of nothing are left out."""
        return json.dumps({part.name: value for part in fields(self) if (value := getattr(self, part.name))})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The statistics that `to_json` wrote."""
        content: dict[str, Any] = json.loads(text)
        for name in ("latency", "outputs"):
            if name in content:
                content[name] = {int(cell): count for cell, count in content[name].items()}
        for name in ("gram", "response"):
            if name in content:
                content[name] = tuple(content[name])
        return cls(**content)

    def latency_counts(self) -> list[int]:
        """Requests in each cell, for `stats.latency_sequence` with `LATENCY_EDGES`."""
        return [self.latency.get(cell, 0) for cell in range(len(LATENCY_EDGES) + 1)]

    def output_counts(self, cells: int) -> list[float]:
        """Requests in each cell, for `stats.drift_sequence`."""
        return [self.outputs.get(cell, 0.0) for cell in range(cells)]

    def moments(self) -> Moments:
        """Of the rewards, for `stats.mean_sequence`."""
        from airflow_provider_mlops.stats.sequences.mean import Moments

        return Moments(self.reward_count, self.reward_total, self.reward_squares)

    def bounded_moments(self, expected: float) -> BoundedMoments:
        """Of the rewards, for `stats.bounded_mean_sequence`.

        :param expected: a guess of the mean within the bounds that was made before the data.
        """
        from airflow_provider_mlops.stats.sequences.bounded_mean import BoundedMoments

        return BoundedMoments.around(expected, self.reward_count, self.reward_total, self.reward_squares)


def over_all_steps(statistics: Mapping[tuple[int, str], ArmStatistics]) -> dict[str, ArmStatistics]:
    """By arm, from what was counted by step and arm.

    >>> two, three = ArmStatistics(requests=2), ArmStatistics(requests=3)
    >>> found = over_all_steps({(0, "champion"): two, (1, "champion"): three})
    >>> found["champion"].requests
    5
    """
    total: dict[str, ArmStatistics] = {}
    for (_, arm), found in statistics.items():
        total[arm] = total.get(arm, ArmStatistics()) + found
    return total


def reward_statistics(arms: Sequence[ArmStatistics], *, mirror: float | None = None) -> RewardStatistics:
    """The rewards of several arms, for `stats.bandits`.

    :param mirror: where less is better: the number that each reward is taken from, so that more is better.
    """
    import numpy as np

    from airflow_provider_mlops.stats.bandits.reward_statistics import RewardStatistics

    count, total, squares = (
        np.array([float(getattr(arm, name)) for arm in arms])
        for name in ("reward_count", "reward_total", "reward_squares")
    )
    if mirror is not None:
        total, squares = mirror * count - total, mirror**2 * count - 2 * mirror * total + squares
    return RewardStatistics(count, total, squares)


def linear_statistics(arms: Sequence[ArmStatistics], features: int, *, mirror: float | None = None) -> LinearStatistics:
    """The sums of the linear models of several arms, for `stats.bandits`; the first feature is always one."""
    import numpy as np

    from airflow_provider_mlops.stats.bandits.linear_statistics import LinearStatistics

    gram = np.zeros((len(arms), features, features))
    response = np.zeros((len(arms), features))
    for place, arm in enumerate(arms):
        if arm.gram:
            gram[place] = np.reshape(arm.gram, (features, features))
            response[place] = arm.response
    if mirror is not None:
        response = mirror * gram[:, 0, :] - response
    return LinearStatistics(np.array([float(arm.reward_count) for arm in arms]), gram, response)


def _added(one: Any, other: Any) -> Any:
    if isinstance(one, Mapping):
        sums = Counter(one)
        sums.update(other)
        return dict(sums)
    if isinstance(one, tuple):
        return tuple(a + b for a, b in zip(one, other, strict=True)) if one and other else one or other
    return one + other
