"""The soak in its shortest form: processes of a gateway are killed, and nothing acknowledged is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.soak import MUST_BE_ZERO, Schedule, soak


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nothing_acknowledged_is_lost_while_processes_are_killed(tmp_path: Path) -> None:
    result = soak(tmp_path, Schedule(seconds=45, swap=6, kill=10), workers=2, seed=2, rate=50)
    assert {name: result[name] for name in MUST_BE_ZERO} == dict.fromkeys(MUST_BE_ZERO, 0)
    assert result["acknowledged_predictions"] > 100
    assert result["acknowledged_rewards"] > 20
    assert result["store_requests"] > 20
    assert result.get("killed_parent", 0) + result.get("killed_worker", 0) >= 2
