"""Access to Airflow connections for both hooks: find one, read its address, mask its secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import AirflowNotFoundException, mask_secret
from airflow.sdk import BaseHook

from airflow_provider_mlops.errors import InvalidSpecError

if TYPE_CHECKING:
    from airflow.sdk import Connection


def find(conn_id: str, default_conn_id: str, field: str) -> Connection | None:
    """Return the connection; None if it is the default one and does not exist.

    Raises InvalidSpecError if any other connection does not exist.
    """
    connection = get(conn_id)
    if connection is None and conn_id != default_conn_id:
        raise InvalidSpecError(
            field, conn_id, f"the connection must exist. Create it, or omit {field} to use the default"
        )
    return connection


def get(conn_id: str) -> Connection | None:
    """Return the connection; None if it does not exist."""
    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        return None
    except ImportError as error:
        # Outside a task, Airflow 3.1 searches everywhere else first, and then for the supervisor that only a task has.
        if "SUPERVISOR_COMMS" not in str(error):
            raise
        return None


def address(connection: Connection) -> str | None:
    """Return the connection's host as a URL, with `http` unless it has another scheme.

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


def secret(value: object, name: str) -> str | None:
    """Return the value as a string that Airflow masks in logs; None if it is empty."""
    if not value:
        return None
    mask_secret(str(value), name)
    return str(value)
