"""Trigger that waits for a version of a registered model, or for an alias to move to one."""

from __future__ import annotations

from typing import Unpack

from typing_extensions import override

from airflow_provider_mlops.hooks.mlflow import MlflowHook
from airflow_provider_mlops.triggers.events import NewVersionEvent
from airflow_provider_mlops.triggers.waiting import Observation, WaitingArguments, WaitingTrigger


class ModelVersionTrigger(WaitingTrigger[NewVersionEvent]):
    """Fires with the newest version above a number, or with the version of an alias once it is above that number.

    :param model_name: name of the registered model, which may not exist yet.
    :param alias: wait for the version that has this alias; None for any version.
    :param newer_than: number of the latest version that you already know; 0 for any version.
    :param mlflow_conn_id: id of a connection of type `mlflow`.
    """

    def __init__(
        self,
        *,
        model_name: str,
        alias: str | None = None,
        newer_than: int = 0,
        mlflow_conn_id: str = MlflowHook.default_conn_name,
        **waiting: Unpack[WaitingArguments],
    ) -> None:
        super().__init__(**waiting)
        self.model_name = model_name
        self.alias = alias
        self.newer_than = newer_than
        self.mlflow_conn_id = mlflow_conn_id

    @override
    def waiting_for(self) -> str:
        alias = "" if self.alias is None else f" with the alias {self.alias!r}"
        newer = f" newer than version {self.newer_than}" if self.newer_than else ""
        return f"a version of {self.model_name}{alias}{newer}"

    @override
    def observe(self) -> Observation[NewVersionEvent]:
        # Before mlflow is imported, so that its telemetry is off.
        client = MlflowHook(self.mlflow_conn_id).get_conn().client
        from mlflow.exceptions import MlflowException

        try:
            if self.alias is not None:
                versions = [client.get_model_version_by_alias(self.model_name, self.alias)]
            else:
                versions = client.search_model_versions(
                    f"name='{self.model_name}'", max_results=1, order_by=["version_number DESC"]
                )
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return Observation("there is none")
            raise
        if not versions:
            return Observation("there is none")
        number = int(versions[0].version)
        seen = f"version {number} is the newest" if self.alias is None else f"version {number} has the alias"
        if number <= self.newer_than:
            return Observation(seen)
        event = NewVersionEvent(name=self.model_name, version=number, run_id=versions[0].run_id or "")
        return Observation(seen, event)

    @override
    def advance(self, event: NewVersionEvent) -> None:
        self.newer_than = event["version"]
