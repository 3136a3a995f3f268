"""Buttons on a task instance, which open the MLflow run, model version, report or Data Docs of the task.

The URLs are computed while the task runs and stored under one XCom key, because Airflow asks for them
after the task has ended, when only its XComs are left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from airflow.providers.common.compat.sdk import conf
from airflow.sdk import BaseOperatorLink

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.hooks.mlflow import MlflowHook
from airflow_provider_mlops.links.served import is_served

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context
    from airflow.sdk.types import TaskInstanceKey

    from airflow_provider_mlops.lifecycle.workspace import Workspace

XCOM_KEY = "links"


class StepLink(BaseOperatorLink):
    """A button whose URL the task has published under `key`."""

    key: ClassVar[str]

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return the URL. It is empty, which disables the button, if the task has published none."""
        from airflow.providers.common.compat.sdk import XCom

        published = XCom.get_value(ti_key=ti_key, key=XCOM_KEY) or {}
        return str(published.get(self.key) or "")


class MlflowRunLink(StepLink):
    """Opens the MLflow run of the task. Disabled if MLflow is not accessed over HTTP."""

    name = "MLflow run"
    key = "mlflow_run"


class ModelVersionLink(StepLink):
    """Opens the registered model version in MLflow. Disabled if MLflow is not accessed over HTTP."""

    name = "Model version"
    key = "model_version"


class DataDocsLink(StepLink):
    """Opens the Data Docs of Great Expectations."""

    name = "Data Docs"
    key = "data_docs"


class ReportLink(StepLink):
    """Opens the report that the step has written."""

    name = "Report"
    key = "report"


class PromotedLink(StepLink):
    """Tells that the rollout promoted its candidate, and opens its report."""

    name = "Promoted"
    key = "promoted"


class RolledBackLink(StepLink):
    """Tells that the rollout was rolled back, and opens its report."""

    name = "Rolled back"
    key = "rolled_back"


class EndedLink(StepLink):
    """Tells that the rollout ended without a promotion or a rollback, and opens its report."""

    name = "Ended"
    key = "ended"


def link_addresses(step: str, mlflow_conn_id: str, workspace: Workspace, outcome: dict[str, Any]) -> dict[str, str]:
    """Return the URLs of the task's links. The report is linked even if the step rejected its input."""
    hook = MlflowHook(mlflow_conn_id)
    report = outcome.get("report_uri")
    if not outcome and storage.exists(expected := f"{workspace.uri('reports')}/{step}.html"):
        report = expected
    model = outcome.get("model")
    addresses = {
        "mlflow_run": hook.run_url(outcome["mlflow_run_id"]) if outcome.get("mlflow_run_id") else None,
        "model_version": hook.model_url(model["name"], model["version"]) if model else None,
        "data_docs": served_url(workspace, outcome.get("data_docs_uri")),
        "report": served_url(workspace, report),
    }
    return {key: address for key, address in addresses.items() if address}


def publish_links(context: Context, addresses: dict[str, str]) -> None:
    """Push the URLs to the XCom key that the links read."""
    links = context["task"].operator_extra_links
    # Also without URLs: Airflow logs an error for a link that finds no XCom.
    if links:
        context["ti"].xcom_push(key=XCOM_KEY, value=addresses)
    for link in links:
        # Airflow stores the addresses itself only when the task ends or defers. Until then, a button needs its own.
        if isinstance(link, StepLink) and addresses.get(link.key):
            context["ti"].xcom_push(key=link.xcom_key, value=addresses[link.key])


def served_url(workspace: Workspace, uri: str | None) -> str | None:
    """Return the URL at which the Airflow API server serves a file; None if it does not serve the file."""
    if uri is None or uri.startswith(("http://", "https://")):
        return uri
    root = workspace.storage_uri.rstrip("/") + "/"
    path = uri.removeprefix("file://")
    if not path.startswith(root.removeprefix("file://")):
        return None
    path = path.removeprefix(root.removeprefix("file://"))
    dag_id = workspace.task.dag_id
    if not is_served(dag_id, path):
        return None
    base = (conf.get("api", "base_url", fallback="") or "").rstrip("/")
    return f"{base}/mlops/files/{quote(dag_id, safe='')}/{quote(path)}"
