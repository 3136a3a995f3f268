"""The fields of the step `rollout` and what it returns."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal, Self, TypeAlias

from pydantic import Field, model_validator

from airflow_provider_mlops.errors import FieldError
from airflow_provider_mlops.lifecycle.deploy.deployment import Deployment
from airflow_provider_mlops.lifecycle.deploy.expected_champion import Replacement
from airflow_provider_mlops.lifecycle.rollout.findings import Finding
from airflow_provider_mlops.lifecycle.step import Result
from airflow_provider_mlops.registry.model_version import ModelVersion
from airflow_provider_mlops.serving.rollouts.config import RolloutConfig
from airflow_provider_mlops.serving.rollouts.rollout import Status


class RolloutSpec(RolloutConfig, Replacement):
    """What to roll out, how, and what happens if it goes wrong."""

    candidates: tuple[ModelVersion, ...] = Field(
        default=(), max_length=6, description="More versions of the same model to try beside `model`; only for bandits."
    )
    on_conflict: Literal["fail", "wait"] = Field(
        default="fail",
        description="What happens while another task's rollout of the model is under way: `fail` at once, with "
        "`RolloutConflictError`, or `wait` until it is over.",
    )
    on_rollback: Literal["skip", "fail", "succeed"] = Field(
        default="skip",
        description="How the task ends after a rollback: `skip`: it succeeds, and the tasks right after it are "
        "skipped; `fail`: it fails without a retry, and Airflow then registers no asset event; `succeed`: what comes "
        "after it runs, and can look at `status`.",
    )
    check_interval: timedelta = Field(
        default=timedelta(seconds=30),
        gt=timedelta(0),
        description="How often the evidence is looked at. Below some seconds Airflow may take a task that resumes so "
        "soon for lost; it joins the rollout when it is tried again.",
    )

    @model_validator(mode="after")
    def _one_model(self) -> Self:
        versions = [self.model.version, *(candidate.version for candidate in self.candidates)]
        if any(candidate.name != self.model.name for candidate in self.candidates):
            raise FieldError("candidates", "candidates must be versions of the same model as `model`")
        if len(set(versions)) != len(versions):
            raise FieldError("candidates", "candidates must differ from each other and from `model`")
        if len(versions) > 1 and not self.learns:
            raise FieldError(
                "candidates", f"the strategy {self.strategy.kind} takes one version; only bandits take candidates"
            )
        return self


Standing: TypeAlias = Literal["waiting"] | Status


class RolloutResult(Result):
    """Where the rollout stands."""

    rollout_id: str | None = Field(description="The rollout; None where the model was the champion already.")
    status: Standing = Field(
        description="`promoted`; `rolled_back`; or `ended`, where the champion stays and nothing is held against the "
        "model. Before it is over: `waiting` for another rollout, `running`, or `held`."
    )
    step: int = Field(description="The step that it has come to, from 0.")
    version: int | None = Field(description="The version that answers once it is over.")
    reason: str = Field(description="Why, in plain words.")
    findings: tuple[Finding, ...] = Field(description="What is known about each gate; at most ten, the worst first.")
    deployment: Deployment | None = Field(
        description="What answers for the model once it is over, and the audit entry of the decision."
    )
    model: ModelVersion = Field(description="The version that was rolled out.")
