"""The result of one gate: its verdict and the reason."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from airflow_provider_mlops.lifecycle.validate.gates import Gate

GateVerdict: TypeAlias = Literal["passed", "failed", "inconclusive"]


class GateResult(BaseModel):
    """The decision of one gate and its reason."""

    model_config = ConfigDict(frozen=True)

    gate: str
    kind: str
    verdict: GateVerdict
    reason: str = Field(description="Reason for the verdict in one sentence, with the numbers.")
    values: dict[str, float] = Field(default_factory=dict, description="Measured values by name.")


def gate_result(gate: Gate, verdict: GateVerdict, reason: str, values: dict[str, float] | None = None) -> GateResult:
    """Return the result of a gate under its title."""
    return GateResult(gate=gate.title, kind=gate.kind, verdict=verdict, reason=reason, values=values or {})
