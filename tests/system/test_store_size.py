"""The benchmark of the rollout store's size in small: it stays bounded, and without ageing it does not."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from benchmarks.store_size import Scenario, run

HALF_REWARDED = Scenario("half are rewarded", 0.5, timedelta(minutes=2), timedelta(minutes=10))


@pytest.mark.parametrize("is_ageing", [True, False])
def test_the_store_stops_growing_only_because_it_ages(tmp_path: Path, is_ageing: bool) -> None:
    result = run(tmp_path, HALF_REWARDED, hours=1, rate=500, scale=200, is_ageing=is_ageing)
    assert result["counted"] == pytest.approx(result["rewards"], rel=0.01)
    assert result["counted"] > 0.4 * result["answers"]
    growth = result["growth_of_second_half"]
    assert growth < 0.1 if is_ageing else growth > 0.7


def test_answers_with_rewards_take_no_room_for_long(tmp_path: Path) -> None:
    scenario = Scenario("all are rewarded", 1.0, timedelta(minutes=5), timedelta(days=1), strangers=0.01)
    result = run(tmp_path, scenario, hours=1, rate=500, scale=200, is_ageing=True)
    # 150,000 answers wait at a time, of 1.8 million, which would take 60 MB.
    assert result["mb_largest"] < 40
