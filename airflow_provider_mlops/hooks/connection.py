"""What both hooks do with an Airflow connection: find it or the default, read its address, mask its secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowNotFoundException, mask_secret
from airflow.sdk import BaseHook

from airflow_provider_mlops.errors import InvalidSpecError

if TYPE_CHECKING:
    from airflow.sdk import Connection


def find(conn_id: str, default_conn_id: str, field: str) -> Connection | None:
    """The connection; None if it is the default one and nobody has configured it.

    Raises InvalidSpecError if a connection that was named on purpose does not exist.
    """
    connection = get(conn_id)
    if connection is None and conn_id != default_conn_id:
        raise InvalidSpecError(
            field, conn_id, "there is no such connection: create it, or leave the field out for the embedded default"
        )
    return connection


def get(conn_id: str) -> Connection | None:
    """The connection; None if nobody has configured it."""
    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        return None
    except ImportError as error:
        # Outside a task, Airflow 3.1 looks everywhere else first and then for the supervisor that only a task has.
        if "SUPERVISOR_COMMS" not in str(error):
            raise
        return None


def address(connection: Connection) -> str | None:
    """The connection's host as a URL: `http` unless it says otherwise.

    >>> from types import SimpleNamespace
    >>> address(SimpleNamespace(host="mlflow.example.com", port=5000, schema=None))
    'http://mlflow.example.com:5000'
    >>> address(SimpleNamespace(host="https://mlflow.example.com/base/", port=None, schema=None))
    'https://mlflow.example.com/base'
    """
    host = (connection.host or "").strip().rstrip("/")
    if not host:
        return None
    if "://" in host:
        return host
    if host.startswith(("sqlite:", "file:", "/")) or host == "databricks":
        return host
    scheme = connection.schema if connection.schema in ("http", "https") else "http"
    port = f":{connection.port}" if connection.port else ""
    return f"{scheme}://{host}{port}"


def secret(value: Any, name: str) -> str | None:
    """`value` as a string that no log will show; None if it is empty."""
    if not value:
        return None
    mask_secret(str(value), name)
    return str(value)
