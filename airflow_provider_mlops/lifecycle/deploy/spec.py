"""The fields of the step `deploy` and what it returns."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from airflow_provider_mlops.lifecycle.deploy.deployment import Deployment
from airflow_provider_mlops.lifecycle.deploy.expected_champion import Replacement
from airflow_provider_mlops.lifecycle.step import Result
from airflow_provider_mlops.registry.model_version import ModelVersion


class DeploySpec(Replacement):
    """What to deploy, and what must hold for it."""

    strategy: Literal["direct"] = Field(
        default="direct", description="How traffic moves to the version. `direct`: all of it at once."
    )


class DeployResult(Result):
    """What answers now."""

    deployment: Deployment = Field(description="Name, version, the version before, endpoint and audit entry.")
    model: ModelVersion = Field(description="The version that was deployed.")
