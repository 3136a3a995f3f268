"""The workspace of a task, from Airflow's connections and settings."""

from __future__ import annotations

from airflow_provider_mlops.data.task_identity import TaskIdentity
from airflow_provider_mlops.hooks.gateway import MlopsGatewayHook
from airflow_provider_mlops.hooks.mlflow import MlflowHook
from airflow_provider_mlops.hooks.rollout_store import rollout_secrets
from airflow_provider_mlops.hooks.storage import storage_uri
from airflow_provider_mlops.lifecycle.workspace import Workspace


def open_workspace(task: TaskIdentity, mlflow_conn_id: str, gateway_conn_id: str) -> Workspace:
    """Return the backends that a task may use.

    :param task: identity of the task.
    :param mlflow_conn_id: id of a connection of type `mlflow`.
    :param gateway_conn_id: id of a connection of type `mlops_gateway`.
    """
    mlflow = MlflowHook(mlflow_conn_id).settings()
    gateway = MlopsGatewayHook(gateway_conn_id).settings()
    return Workspace(
        storage_uri=storage_uri(),
        task=task,
        tracking_uri=mlflow.tracking_uri,
        registry_uri=mlflow.registry_uri,
        trusted_types=mlflow.trusted_types,
        gateway_url=gateway.url,
        gateway_tls=gateway.tls,
        secrets=mlflow.secrets() | gateway.secrets() | rollout_secrets(),
    )
