"""Rows of one request depend on each other: the gates must not take them for so many requests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from airflow_provider_mlops.lifecycle.rollout.evidence import Evidence
from airflow_provider_mlops.lifecycle.rollout.findings import findings
from airflow_provider_mlops.serving.rollouts.arm_statistics import ArmStatistics
from airflow_provider_mlops.serving.rollouts.evidence.evidence_delta import EvidenceDelta
from tests.helpers.rollouts import canary

RATE, STREAMS, LOOKS, ROWS = 0.2, 60, 6, 40
GATES: dict[str, dict[str, Any]] = {
    "agreement": {"kind": "agreement", "min_rate": 0.8},
    "drift": {"kind": "drift", "classes": ["0", "1"], "max_distance": 0.2},
}


@pytest.mark.parametrize("kind", GATES)
def test_at_the_border_requests_of_many_rows_decide_as_seldom_as_those_of_one(kind: str) -> None:
    """In one request of five the shadow says something else of all rows: just what both gates allow."""
    plan = canary(strategy={"kind": "shadow"}, gates=[GATES[kind]], false_alarm_rate=RATE, expected_requests=100)
    generator = np.random.default_rng(1)

    def looked_at(differs: np.ndarray) -> dict[str, ArmStatistics]:
        added = EvidenceDelta(lambda rollout: plan)
        for other in differs.tolist():
            for arm, output, marks in (
                ("champion", 0, {}),
                ("shadow", int(other), {"shadow_of": "", "agreed": 0 if other else ROWS}),
            ):
                added.add(
                    {
                        "predictions": "",
                        "rollout": "",
                        "step": 0,
                        "arm": arm,
                        "output": [output] * ROWS,
                        "latency_ms": None,
                        **marks,
                    }
                )
        return {arm: found for (_, _, arm), found in added.statistics().items()}

    decided = 0
    for _ in range(STREAMS):
        total: dict[str, ArmStatistics] = {}
        for look in range(LOOKS):
            new = looked_at(generator.random(25 * 2 ** max(0, look - 1)) < 0.2)
            total = {arm: total.get(arm, ArmStatistics()) + found for arm, found in new.items()}
            if findings(plan, Evidence(total=total))[0].verdict != "inconclusive":
                decided += 1
                break
    assert decided <= int(stats.binom.ppf(0.999, STREAMS, RATE))
