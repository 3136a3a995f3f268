"""The measurements of the gates of a rollout at each check, in a small file next to its report.

The rollout store has only the present statistics. The file keeps at most `MAX_MEASUREMENTS` checks: when it is full,
every second one is dropped, so that it always covers the whole rollout.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.lifecycle.rollout.findings import Finding

log = logging.getLogger(__name__)

MAX_MEASUREMENTS = 200


class Measurement(BaseModel):
    """The measurement of one gate for one candidate at one check."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    time: datetime = Field(description="Time of the check, in UTC.")
    gate: str = Field(description="Name of the gate.")
    arm: str = Field(description="Name of the candidate's arm.")
    estimate: float | None = Field(description="Estimate of the value that the gate compares.")
    low: float | None = Field(description="Lower end of the confidence interval; null if it is unbounded.")
    high: float | None = Field(description="Upper end of the confidence interval; null if it is unbounded.")
    required: float | None = Field(description="Value that the whole interval must be above or below.")


class Measurements(BaseModel):
    """The checks of a rollout so far, oldest first."""

    model_config = ConfigDict(extra="forbid")

    rollout_id: str
    checks: list[list[Measurement]] = Field(default_factory=list)

    @classmethod
    def read(cls, uri: str, rollout_id: str) -> Measurements:
        """Return what the file has; nothing if it is missing, damaged or belongs to another rollout."""
        try:
            found = cls.model_validate_json(storage.read_bytes(uri))
        except FileNotFoundError:
            return cls(rollout_id=rollout_id)
        except ValidationError as error:
            log.warning("Ignored the damaged file %s: the charts of the report start again (%s)", uri, error)
            return cls(rollout_id=rollout_id)
        return found if found.rollout_id == rollout_id else cls(rollout_id=rollout_id)

    def add(self, time: datetime, findings: Iterable[Finding]) -> None:
        """Append a check."""
        check = [
            Measurement(
                time=time,
                gate=finding.gate,
                arm=finding.arm,
                estimate=finding.estimate,
                low=finding.low,
                high=finding.high,
                required=finding.required,
            )
            for finding in findings
            if finding.required is not None
        ]
        if not check:
            return
        self.checks.append(check)
        if len(self.checks) > MAX_MEASUREMENTS:
            # The newest check stays.
            self.checks = self.checks[-1::-2][::-1]

    def of(self, gate: str, arm: str) -> list[Measurement]:
        """Return the measurements of one gate for one candidate, oldest first."""
        return [each for check in self.checks for each in check if (each.gate, each.arm) == (gate, arm)]
