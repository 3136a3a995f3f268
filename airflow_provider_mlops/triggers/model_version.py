"""Waits for a version of a registered model, or for an alias to move to one."""

from __future__ import annotations

from typing import Any

from airflow_provider_mlops.hooks.mlflow import MlflowHook
from airflow_provider_mlops.registry.model_version import ModelVersion
from airflow_provider_mlops.triggers.waiting import WaitingTrigger


class ModelVersionTrigger(WaitingTrigger):
    """Fires with the newest version above a number, or with an alias's version once it is above it.

    :param model_name: the registered model's name. It need not exist yet.
    :param alias: wait for the version that has this alias; None: for any version.
    :param newer_than: the number of the version that is known already. 0: any version counts.
    :param mlflow_conn_id: the connection of type `mlflow`.
    """

    def __init__(
        self,
        *,
        model_name: str,
        alias: str | None = None,
        newer_than: int = 0,
        mlflow_conn_id: str = MlflowHook.default_conn_name,
        poke_interval: float = 60.0,
    ) -> None:
        super().__init__(poke_interval=poke_interval)
        self.model_name = model_name
        self.alias = alias
        self.newer_than = newer_than
        self.mlflow_conn_id = mlflow_conn_id

    def arguments(self) -> dict[str, Any]:
        """What the trigger knows, for the triggerer's database."""
        return {
            "model_name": self.model_name,
            "alias": self.alias,
            "newer_than": self.newer_than,
            "mlflow_conn_id": self.mlflow_conn_id,
        }

    def look(self) -> dict[str, Any] | None:
        """The ModelVersion as JSON. Raises BackendUnavailableError and InvalidSpecError as the registry does."""
        client = MlflowHook(self.mlflow_conn_id).get_conn().client
        from mlflow.exceptions import MlflowException

        try:
            if self.alias is not None:
                found = client.get_model_version_by_alias(self.model_name, self.alias)
                candidates = [found]
            else:
                candidates = client.search_model_versions(
                    f"name='{self.model_name}'", max_results=1, order_by=["version_number DESC"]
                )
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise
        for candidate in candidates:
            if int(candidate.version) > self.newer_than:
                version = ModelVersion(
                    name=self.model_name, version=int(candidate.version), run_id=candidate.run_id or ""
                )
                return version.model_dump(mode="json")
        return None

    def advance(self, found: dict[str, Any]) -> None:
        """Look for what is newer from now on."""
        self.newer_than = found["version"]
