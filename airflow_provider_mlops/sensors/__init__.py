"""Sensors that wait for data, a model version, an endpoint, the end of a rollout, or labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_mlops.lazy import lazy_names

if TYPE_CHECKING:
    from airflow_provider_mlops.sensors.endpoint_healthy import EndpointHealthySensor
    from airflow_provider_mlops.sensors.endpoint_ready import EndpointReadySensor
    from airflow_provider_mlops.sensors.enough_feedback import EnoughFeedbackSensor
    from airflow_provider_mlops.sensors.model_version import ModelVersionSensor
    from airflow_provider_mlops.sensors.new_data import NewDataSensor
    from airflow_provider_mlops.sensors.rollout_finished import RolloutFinishedSensor

__all__ = [
    "EndpointHealthySensor",
    "EndpointReadySensor",
    "EnoughFeedbackSensor",
    "ModelVersionSensor",
    "NewDataSensor",
    "RolloutFinishedSensor",
]

if not TYPE_CHECKING:  # A type checker would accept every name from a package that has __getattr__.
    __getattr__ = lazy_names(
        __name__,
        {
            "EndpointHealthySensor": "endpoint_healthy",
            "EndpointReadySensor": "endpoint_ready",
            "EnoughFeedbackSensor": "enough_feedback",
            "ModelVersionSensor": "model_version",
            "NewDataSensor": "new_data",
            "RolloutFinishedSensor": "rollout_finished",
        },
    )
