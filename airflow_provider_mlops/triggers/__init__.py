"""Triggers with which deferred tasks wait in the triggerer. Most can also watch an asset."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_mlops.lazy import lazy_names

if TYPE_CHECKING:
    from airflow_provider_mlops.triggers.endpoint_healthy import EndpointHealthyTrigger
    from airflow_provider_mlops.triggers.endpoint_ready import EndpointReadyTrigger
    from airflow_provider_mlops.triggers.enough_feedback import EnoughFeedbackTrigger
    from airflow_provider_mlops.triggers.model_version import ModelVersionTrigger
    from airflow_provider_mlops.triggers.new_data import NewDataTrigger
    from airflow_provider_mlops.triggers.rollout import NoRolloutTrigger, RolloutTrigger
    from airflow_provider_mlops.triggers.rollout_finished import RolloutFinishedTrigger

__all__ = [
    "EndpointHealthyTrigger",
    "EndpointReadyTrigger",
    "EnoughFeedbackTrigger",
    "ModelVersionTrigger",
    "NewDataTrigger",
    "NoRolloutTrigger",
    "RolloutFinishedTrigger",
    "RolloutTrigger",
]

if not TYPE_CHECKING:  # A type checker would accept every name from a package that has __getattr__.
    __getattr__ = lazy_names(
        __name__,
        {
            "EndpointHealthyTrigger": "endpoint_healthy",
            "EndpointReadyTrigger": "endpoint_ready",
            "EnoughFeedbackTrigger": "enough_feedback",
            "ModelVersionTrigger": "model_version",
            "NewDataTrigger": "new_data",
            "NoRolloutTrigger": "rollout",
            "RolloutFinishedTrigger": "rollout_finished",
            "RolloutTrigger": "rollout",
        },
    )
