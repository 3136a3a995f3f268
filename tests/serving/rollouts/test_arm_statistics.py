"""Statistics of arms add up like the observations that they are of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_mlops.serving.rollouts import arm_statistics
from airflow_provider_mlops.serving.rollouts.arm_statistics import LATENCY_EDGES, ArmStatistics, latency_cell
from airflow_provider_mlops.stats.bandits.linear_statistics import LinearStatistics
from airflow_provider_mlops.stats.sequences.latency import count_slower_than

COUNT = st.integers(0, 10**9)
CELLS = st.dictionaries(st.integers(0, 20), st.integers(1, 1000), max_size=5)
CLUSTERS = st.dictionaries(st.integers(0, 9), st.tuples(COUNT, COUNT), max_size=3)
# Sums of halves are exact, so that the order of additions cannot matter.
HALVES = st.integers(-1000, 1000).map(lambda whole: whole / 2)


@st.composite
def statistics(draw: st.DrawFn) -> ArmStatistics:
    linear = draw(st.booleans())
    values: dict[str, Any] = {name: draw(COUNT) for name in ("requests", "errors", "rows", "compared", "agreed")}
    return ArmStatistics(
        **values,
        latency=draw(CELLS),
        outputs=draw(CELLS),
        rewards_at_bounds=draw(COUNT),
        rewards_of_rows=draw(COUNT),
        request_clusters=draw(CLUSTERS),
        expected_errors=draw(CLUSTERS),
        latency_clusters=draw(st.dictionaries(st.integers(0, 9), CELLS, max_size=3)),
        reward_clusters=draw(CLUSTERS),
        gram=tuple(draw(st.lists(HALVES, min_size=4, max_size=4))) if linear else (),
        response=tuple(draw(st.lists(HALVES, min_size=2, max_size=2))) if linear else (),
    )


@given(one=statistics(), two=statistics(), three=statistics())
def test_addition_is_associative_and_commutative_and_survives_json(
    one: ArmStatistics, two: ArmStatistics, three: ArmStatistics
) -> None:
    assert one + two == two + one
    assert (one + two) + three == one + (two + three) == ArmStatistics.sum([three, one, two])
    assert one + ArmStatistics() == one
    assert ArmStatistics.from_json((one + two).to_json()) == one + two


@given(st.floats(0, 1e9))
def test_a_latency_lies_in_the_first_cell_that_it_does_not_exceed(milliseconds: float) -> None:
    cell = latency_cell(milliseconds)
    assert cell == len(LATENCY_EDGES) or milliseconds <= LATENCY_EDGES[cell]
    assert cell == 0 or milliseconds > LATENCY_EDGES[cell - 1]


@pytest.mark.parametrize("limit", [0.01, 1.0, 49.9, 1e6])
def test_slow_requests_are_counted_from_the_edge_above_the_limit(limit: float) -> None:
    latencies = np.random.default_rng(1).lognormal(3, 1.5, 2000)
    counts: dict[int, int] = {}
    for latency in latencies:
        counts[latency_cell(latency)] = counts.get(latency_cell(latency), 0) + 1
    edge = arm_statistics.edge_at_least(limit)
    assert edge == LATENCY_EDGES[-1] or limit <= edge
    assert edge == LATENCY_EDGES[0] or edge < max(limit, LATENCY_EDGES[0]) * 1.1
    found = count_slower_than(LATENCY_EDGES, ArmStatistics(latency=counts).latency_counts(), edge)
    assert found == (int((latencies > edge).sum()), 2000)


def test_conversions_say_what_the_observations_say() -> None:
    generator = np.random.default_rng(0)
    features, rewards = generator.normal(size=(50, 3)), generator.uniform(size=50)
    place = generator.integers(0, 2, 50)
    arms = []
    for arm in (0, 1):
        x, r = features[place == arm], rewards[place == arm]
        arms.append(
            ArmStatistics(
                reward_count=len(r),
                reward_total=r.sum(),
                reward_deviations=float(((r - r.mean()) ** 2).sum()),
                gram=tuple((x.T @ x).ravel()),
                response=tuple(x.T @ r),
            )
        )
    expected = LinearStatistics.of(place, features, rewards, 2)
    found = arm_statistics.linear_statistics([*arms, ArmStatistics()], 3)
    np.testing.assert_allclose(found.gram[:2], expected.gram)
    np.testing.assert_allclose(found.response[:2], expected.response)
    assert not found.gram[2].any()
    costs = arm_statistics.reward_statistics(arms, mirror=1.0)
    np.testing.assert_allclose(costs.mean, [1 - rewards[place == arm].mean() for arm in (0, 1)])
    np.testing.assert_allclose(costs.deviations, [rewards[place == arm].var() * (place == arm).sum() for arm in (0, 1)])
    assert arms[0].moments().variance == pytest.approx(rewards[place == 0].var(ddof=1))
    moments = arms[0].bounded_moments(0.5)
    assert moments.variation == pytest.approx(((rewards[place == 0] - 0.5) ** 2).sum())


def test_costs_of_a_linear_model_are_turned_round() -> None:
    generator = np.random.default_rng(0)
    x = np.column_stack([np.ones(20), generator.normal(size=20)])
    cost = generator.uniform(size=20)
    arm = ArmStatistics(reward_count=20, gram=tuple((x.T @ x).ravel()), response=tuple(x.T @ cost))
    found = arm_statistics.linear_statistics([arm], 2, mirror=1.0)
    np.testing.assert_allclose(found.response, LinearStatistics.of([0] * 20, x, 1 - cost, 1).response)
