"""Waits for a version of a registered model, or for an alias to move to one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.hooks.mlflow import MlflowHook
from airflow_provider_mlops.sensors.waiting import WaitingSensor
from airflow_provider_mlops.triggers.model_version import ModelVersionTrigger


class ModelVersionSensor(WaitingSensor):
    """Waits until a registered model has a version above a number, or until an alias is at one.

    Returns the ModelVersion, which the next task can take as `model=sensor.output`.

    :param model_name: the registered model's name. It need not exist yet.
    :param alias: wait for the version that has this alias. By default for any version.
    :param newer_than: the number of the version that is known already. By default any version counts.
    :param mlflow_conn_id: the connection of type `mlflow`.
    :param deferrable: wait in the triggerer, which holds no worker slot. By default what
        `[operators] default_deferrable` says.
    """

    template_fields: Sequence[str] = ("model_name", "alias", "newer_than", "mlflow_conn_id")
    ui_color = "#efe6f7"

    def __init__(
        self,
        *,
        model_name: str,
        alias: str | None = None,
        newer_than: int | str = 0,
        mlflow_conn_id: str = MlflowHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model_name = model_name
        self.alias = alias
        self.newer_than = newer_than
        self.mlflow_conn_id = mlflow_conn_id

    def trigger(self) -> ModelVersionTrigger:
        """Looks for the version. Raises InvalidSpecError if `newer_than` is no number."""
        try:
            newer_than = int(self.newer_than or 0)
        except ValueError:
            raise InvalidSpecError("newer_than", self.newer_than, "give the number of a version") from None
        return ModelVersionTrigger(
            model_name=self.model_name,
            alias=self.alias or None,
            newer_than=newer_than,
            mlflow_conn_id=self.mlflow_conn_id,
            poke_interval=self.poke_interval,
        )
