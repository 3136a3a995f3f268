"""A gate whose classes are not those that the versions answer sees no drift, and must not say that there is none."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_mlops.lifecycle.rollout.evidence import Evidence
from airflow_provider_mlops.lifecycle.rollout.findings import findings
from airflow_provider_mlops.serving.rollouts.evidence.evidence_delta import EvidenceDelta
from tests.helpers.rollouts import canary


@pytest.mark.parametrize(
    ("classes", "outputs", "verdict"),
    [
        (("0", "1"), (0, 1), "worse"),
        (("0", "1"), (0.0, 1.0), "worse"),
        (("true", "false"), (True, False), "worse"),
        (("yes", "no"), ("Yes", "No"), "inconclusive"),
    ],
)
def test_drift_between_classes(classes: tuple[str, ...], outputs: tuple[Any, Any], verdict: str) -> None:
    plan = canary(gates=[{"kind": "drift", "classes": classes, "max_distance": 0.1}])
    added = EvidenceDelta(lambda rollout: plan)
    for arm, output in zip(("champion", "candidate"), outputs, strict=True):
        for _ in range(2000):
            added.add(
                {
                    "predictions": "",
                    "rollout": "",
                    "step": 0,
                    "arm": arm,
                    "output": [output],
                    "latency_ms": None,
                }
            )
    (found,) = findings(plan, Evidence(total={arm: sums for (_, _, arm), sums in added.statistics().items()}))
    assert found.verdict == verdict, found.sentence
    if verdict == "inconclusive":
        assert found.sentence.startswith("Drift cannot be detected: 100% of the champion's predictions"), found.sentence
