"""The workspace of a step: the backends it may use and the task it works for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.data.task_identity import TaskIdentity
from airflow_provider_mlops.serving.client.credentials import ClientTls

if TYPE_CHECKING:
    from airflow_provider_mlops.registry.connection import Registry
    from airflow_provider_mlops.serving.rollouts.store import RolloutStore

SECRET_PREFIX = "AIRFLOW_PROVIDER_MLOPS_SECRET_"


class Workspace(BaseModel):
    """The backends a step may use and the task it works for.

    A step gets its Spec and a workspace. Secrets are held only here. They never appear in the JSON form: a runtime that
    starts another process passes them as environment variables.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    storage_uri: str
    task: TaskIdentity
    tracking_uri: str | None = None
    registry_uri: str | None = None
    gateway_url: str | None = None
    gateway_tls: ClientTls = ClientTls()
    trusted_types: tuple[str, ...] = ()
    secrets: dict[str, SecretStr] = Field(default_factory=dict, exclude=True, repr=False)

    def uri(self, kind: str, *parts: str) -> str:
        """Return the URI where this task stores its files of a kind: `{storage_uri}/{kind}/{dag}/{run}/{task}/...`.

        >>> task = TaskIdentity(dag_id="churn", run_id="r1", task_id="extract")
        >>> Workspace(storage_uri="/data", task=task).uri("datasets", "customers")
        '/data/datasets/churn/r1/extract/customers'
        """
        return storage.join(self.storage_uri, kind, self.task.path, *parts)

    def secret(self, name: str) -> str | None:
        """Return the secret called `name`, from this object or from the environment; None if it is not set."""
        secret = self.secrets.get(name)
        if secret is not None:
            return secret.get_secret_value()
        return os.environ.get(SECRET_PREFIX + name.upper())

    def registry(self) -> Registry:
        """Connect to MLflow with the secrets `mlflow_username`, `mlflow_password` and `mlflow_token`."""
        from airflow_provider_mlops.registry.connection import Registry
        from airflow_provider_mlops.registry.settings import RegistrySettings

        settings = RegistrySettings(
            self.storage_uri,
            self.tracking_uri,
            self.registry_uri,
            username=self.secret("mlflow_username"),
            password=self.secret("mlflow_password"),
            token=self.secret("mlflow_token"),
            trusted_types=self.trusted_types,
        )
        return Registry(settings)

    def rollout_store(self) -> RolloutStore:
        """Return the rollout store at the secret `rollout_store_url`, or at its default URL.

        The URL is a secret because it may contain a password.
        """
        from airflow_provider_mlops.serving.rollouts.store import RolloutStore, default_url

        return RolloutStore(self.secret("rollout_store_url") or default_url(self.storage_uri))

    def environment(self) -> Mapping[str, str]:
        """Return the secrets as environment variables, from which `secret` reads them in another process."""
        return {SECRET_PREFIX + name.upper(): value.get_secret_value() for name, value in self.secrets.items()}
