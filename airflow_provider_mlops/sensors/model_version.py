"""Sensor that waits for a version of a registered model, or for an alias to move to one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from typing_extensions import override

from airflow_provider_mlops.hooks.mlflow import MlflowHook
from airflow_provider_mlops.sensors.rendered import Number, Text, require_text, to_int, to_text
from airflow_provider_mlops.sensors.waiting import SensorArguments, WaitingSensor
from airflow_provider_mlops.triggers.events import NewVersionEvent
from airflow_provider_mlops.triggers.model_version import ModelVersionTrigger


class ModelVersionSensor(WaitingSensor[NewVersionEvent]):
    """Waits until a registered model has a version above a number, or until an alias points to one.

    Returns the ModelVersion, which the next task can take as `model=sensor.output`.

    :param model_name: Name of the registered model, which may not exist yet.
    :param alias: Wait for the version that has this alias. By default, any version.
    :param newer_than: Number of the latest version that you already know. By default, any version counts.
    :param mlflow_conn_id: Id of a connection of type `mlflow`.
    :param deferrable: Wait in the triggerer, which needs no worker slot. Defaults to
        `[operators] default_deferrable`.
    """

    template_fields: Sequence[str] = ("model_name", "alias", "newer_than", "mlflow_conn_id")
    ui_color = "#efe6f7"

    def __init__(
        self,
        *,
        model_name: Text,
        alias: Text | None = None,
        newer_than: Number = 0,
        mlflow_conn_id: str = MlflowHook.default_conn_name,
        **kwargs: Unpack[SensorArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.model_name = model_name
        self.alias = alias
        self.newer_than = newer_than
        self.mlflow_conn_id = mlflow_conn_id

    @override
    def trigger(self) -> ModelVersionTrigger:
        return ModelVersionTrigger(
            model_name=require_text("model_name", self.model_name),
            alias=to_text(self.alias),
            newer_than=to_int("newer_than", self.newer_than, "it must be the number of a model version") or 0,
            mlflow_conn_id=self.mlflow_conn_id,
            poke_interval=self.poke_interval,
        )
