"""The spec and the result of the step `deploy`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from airflow_provider_mlops.lifecycle.deploy.deployment import Deployment
from airflow_provider_mlops.lifecycle.deploy.expected_champion import Replacement
from airflow_provider_mlops.lifecycle.step import Result
from airflow_provider_mlops.registry.model_version import ModelVersion


class DeploySpec(Replacement):
    """The version to deploy, and the conditions for it."""

    strategy: Literal["direct"] = Field(
        default="direct", description="How traffic moves to the version. `direct`: all of it at once."
    )


class DeployResult(Result):
    """The new deployment."""

    deployment: Deployment = Field(
        description="New deployment: model, version, previous version, endpoint and audit entry."
    )
    model: ModelVersion = Field(description="Version that was deployed.")
