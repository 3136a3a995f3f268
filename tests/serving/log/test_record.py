"""The format of log lines: what is encoded is recognized by its first bytes as what it is when it is parsed."""

from __future__ import annotations

import math
from typing import Any

import pytest

from airflow_provider_mlops.serving.log import prediction_id, record
from airflow_provider_mlops.serving.log.rollout_fields import RolloutContext
from airflow_provider_mlops.serving.log.schema import LogSchema

NUMBERS = LogSchema("churn", 1, (("age", "double"),), "double")
CONTEXTS: list[RolloutContext | None] = [
    None,
    {"rollout": "f00d", "step": 1},
    {"rollout": "f00d", "step": 0, "context": {"rollout": "x"}, "key": "00ff"},
    {"step": 0, "shadow_of": "0" * 32, "agreed": 1, "rollout": "f00d"},
]


def answer(context: RolloutContext | None, output: float = 1.0, arm: str = "champion") -> bytes:
    return record.encode(
        NUMBERS,
        prediction_id.new(),
        arm=arm,
        propensity=0.5,
        features=[[40.0]],
        output=[output],
        probabilities=None,
        latency_ms=1.0,
        rollout_context=context,
    )


def failure(context: RolloutContext) -> bytes:
    return record.encode_failure(
        prediction_id.new(),
        model="churn",
        version=2,
        arm="candidate",
        latency_ms=1.0,
        error="KeyError: 'rollout'",
        rollout_context=context,
    )


def counts(parsed: dict[str, Any]) -> bool:
    """Whether a parsed record may count for a rollout."""
    return "feedback" in parsed or ("rollout" in parsed and ("predictions" in parsed or "failure" in parsed))


LINES = {
    **{f"answer {number}": answer(context) for number, context in enumerate(CONTEXTS)},
    **{f"infinite answer {number}": answer(context, math.inf) for number, context in enumerate(CONTEXTS)},
    **{f"failure {number}": failure(context) for number, context in enumerate(CONTEXTS) if context is not None},
    "misleading arm": answer(None, arm='","rollout":'),
    "feedback": record.encode_feedback([(prediction_id.new(), "1", 1, None)]),
    "reward": record.encode_feedback([(prediction_id.new(), None, 1, 0.5)]),
    "schema": record.encode_schema(LogSchema("rollout", 1, (("rollout", "double"),), "double")),
}


@pytest.mark.parametrize("kind", LINES)
def test_a_line_is_recognized_as_what_it_is_when_parsed(kind: str) -> None:
    line = LINES[kind]
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert record.is_evidence(line) == counts(record.parse(line))


def test_what_is_encoded_is_parsed() -> None:
    parsed = record.parse(answer(CONTEXTS[2], math.inf))
    assert (parsed["rollout"], parsed["step"], parsed["context"], parsed["key"]) == (
        "f00d",
        0,
        {"rollout": "x"},
        "00ff",
    )
    assert parsed["output"] == [math.inf]
    rows = [("f00d", "yes", 1, None), ("cafe", None, 2, 0.5)]
    assert record.feedback_rows(record.parse(record.encode_feedback(rows))) == rows
