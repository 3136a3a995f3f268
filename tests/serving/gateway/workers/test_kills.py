"""A gateway with two workers whose processes are killed at random moments loses nothing that was acknowledged."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import kills


@pytest.mark.parametrize("rounds", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_kills_at_random_moments_lose_nothing(tmp_path: Path, rounds: int) -> None:
    outcome = kills.run(tmp_path, rounds=rounds, seed=rounds, clients=3, seconds=1.5)
    assert outcome.is_clean, outcome
    assert sum(outcome.killed.values()) == rounds
    assert outcome.answered > 50
    assert outcome.labels > 0
