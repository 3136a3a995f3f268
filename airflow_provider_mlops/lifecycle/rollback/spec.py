"""The spec and the result of the step `rollback`."""

from __future__ import annotations

from pydantic import Field

from airflow_provider_mlops.lifecycle.deploy.deployment import Deployment
from airflow_provider_mlops.lifecycle.step import Result, Spec


class RollbackSpec(Spec):
    """The model to roll back, and the reason."""

    model_name: str = Field(description="Name of the registered model.", min_length=1)
    to_version: int | None = Field(
        default=None,
        ge=1,
        description="Version that becomes the champion. Defaults to the previous champion, which the gateway keeps in "
        "memory. If neither this field nor `expected_champion` is set while a rollout of the model is in progress, "
        "the step rolls back the rollout instead, and the champion stays.",
    )
    expected_champion: int | None = Field(
        default=None,
        ge=1,
        description="Champion to replace, such as `monitor.output['model_version']`. If another version is champion "
        "now, the step fails with `PromotionConflictError`. By default, any champion is replaced.",
    )
    reason: str = Field(default="", description="Reason for the rollback, for the audit trail.")
    timeout: float = Field(default=30.0, gt=0, description="Maximum time in seconds to wait for the gateway.")


class RollbackResult(Result):
    """The deployment after a rollback."""

    deployment: Deployment = Field(description="Deployment after the rollback.")
