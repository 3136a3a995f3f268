"""The spec and the result of the step `rollout`."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal, Self, TypeAlias

from pydantic import Field, model_validator

from airflow_provider_mlops.data.times import format_duration
from airflow_provider_mlops.lifecycle.deploy.deployment import Deployment
from airflow_provider_mlops.lifecycle.deploy.expected_champion import Replacement
from airflow_provider_mlops.lifecycle.rollout.findings import Finding
from airflow_provider_mlops.lifecycle.step import Result
from airflow_provider_mlops.registry.model_version import ModelVersion
from airflow_provider_mlops.serving.rollouts.plan.config import RolloutConfig
from airflow_provider_mlops.serving.rollouts.plan.rules import Rule, check
from airflow_provider_mlops.serving.rollouts.rollout import Status


class RolloutSpec(RolloutConfig, Replacement):
    """The version to roll out, how to do it, and what to do if it goes wrong."""

    candidates: tuple[ModelVersion, ...] = Field(
        default=(),
        max_length=6,
        description="Further versions of the same model to try, in addition to `model`. Only bandits accept them.",
    )
    on_conflict: Literal["fail", "wait"] = Field(
        default="fail",
        description="Behavior if another task's rollout of the model is in progress. `fail`: fail immediately with "
        "`RolloutConflictError`; `wait`: wait until it is over.",
    )
    on_rollback: Literal["skip", "fail", "succeed"] = Field(
        default="skip",
        description="How the task ends after a rollback. `skip`: it succeeds, and its downstream tasks are skipped; "
        "`fail`: it fails without a retry, and Airflow registers no asset event; `succeed`: it succeeds, and its "
        "downstream tasks run and can read `status`.",
    )
    check_interval: timedelta = Field(
        default=timedelta(seconds=30),
        gt=timedelta(0),
        description="Time between two checks of the evidence. Don't go below a few seconds: Airflow may mark a task "
        "that resumes too quickly as failed. The retry then rejoins the rollout.",
    )

    @model_validator(mode="after")
    def _one_model(self) -> Self:
        check(self, _RULES)
        return self


_RULES: tuple[Rule[RolloutSpec], ...] = (
    Rule(
        lambda spec: any(candidate.name != spec.model.name for candidate in spec.candidates),
        "candidates",
        lambda spec: f"candidates must be versions of the model {spec.model.name!r}. Remove versions of other models",
    ),
    Rule(
        lambda spec: len({spec.model.version, *(each.version for each in spec.candidates)}) <= len(spec.candidates),
        "candidates",
        "candidates must differ from each other and from model. Remove the duplicates",
    ),
    Rule(
        lambda spec: bool(spec.candidates) and not spec.learns,
        "candidates",
        lambda spec: (
            f"the strategy {spec.strategy.kind} compares only one version with the champion, the one in model. Remove "
            "candidates, or use the strategy bandit or contextual_bandit"
        ),
    ),
    Rule(
        lambda spec: spec.unattended_timeout is not None and spec.unattended_timeout < 3 * spec.check_interval,
        "unattended_timeout",
        lambda spec: (
            f"unattended_timeout must be at least three times check_interval ({format_duration(spec.check_interval)}), "
            "so that a late check does not end the rollout. Increase it, or reduce check_interval"
        ),
    ),
)

ResultStatus: TypeAlias = Literal["waiting"] | Status


class RolloutResult(Result):
    """The progress or the outcome of a rollout."""

    rollout_id: str | None = Field(description="ID of the rollout; None if the version already was the champion.")
    status: ResultStatus = Field(
        description="Status of the rollout. At the end: `promoted`, `rolled_back`, or `ended` (without a promotion or "
        "a rollback). Before: `waiting` (for another rollout), `running` or `held`."
    )
    step: int = Field(description="Number of the rollout's last step, starting at 0.")
    version: int | None = Field(
        description="Version that answers requests after the rollout; None until the rollout ends."
    )
    reason: str = Field(description="Reason for the status.")
    findings: tuple[Finding, ...] = Field(description="Verdict on each gate, the worst first; at most ten.")
    deployment: Deployment | None = Field(
        description="Deployment after the rollout, with the audit entry of the decision; None until the rollout ends."
    )
    report_uri: str | None = Field(
        default=None, description="URI of the report, which is written at each check; None if there was no rollout."
    )
    model: ModelVersion = Field(description="Version that was rolled out.")
