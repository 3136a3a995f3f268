"""The fields of the step `rollback` and what it returns."""

from __future__ import annotations

from pydantic import Field

from airflow_provider_mlops.lifecycle.deploy.deployment import Deployment
from airflow_provider_mlops.lifecycle.step import Result, Spec


class RollbackSpec(Spec):
    """What to roll back, and why."""

    model_name: str = Field(description="The registered model.", min_length=1)
    to_version: int | None = Field(
        default=None,
        ge=1,
        description="The version that becomes champion. By default the one before the champion, which the gateway "
        "keeps in memory, so that it answers at once. While a rollout of the model is under way, the default takes "
        "that back instead, and the champion stays.",
    )
    expected_champion: int | None = Field(
        default=None,
        ge=1,
        description="The champion to be rid of, such as `monitor.output['model_version']`. If another version is "
        "champion by now, the step fails with `PromotionConflictError`. By default whichever is champion.",
    )
    reason: str = Field(default="", description="Why, for the audit trail.")
    timeout: float = Field(default=30.0, gt=0, description="How many seconds the gateway is waited for.")


class RollbackResult(Result):
    """What answers now."""

    deployment: Deployment = Field(description="The deployment after the rollback.")
