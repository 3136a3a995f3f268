"""SQLAlchemy URLs of database connections, for steps that read a database without Airflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from airflow.providers.common.compat.sdk import AirflowException, mask_secret

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.hooks.connection import get

if TYPE_CHECKING:
    from airflow.sdk import Connection

# SQLAlchemy's names for databases that Airflow calls otherwise, for when their provider is not installed.
_DIALECTS = {"postgres": "postgresql", "redshift": "postgresql", "mssql": "mssql+pymssql", "mysql": "mysql+pymysql"}


def sqlalchemy_url(conn_id: str) -> str:
    """Return the URL with its password, which Airflow masks in logs from now on.

    The connection's own hook is asked first. Raises InvalidSpecError if the connection does not exist.
    """
    connection = get(conn_id)
    if connection is None:
        raise InvalidSpecError("source.connection", conn_id, "the connection must exist. Create it in Airflow")
    url = _from_hook(connection) or _from_fields(connection)
    if connection.password:
        mask_secret(connection.password, "password")
    return url


def _from_hook(connection: Connection) -> str | None:
    try:
        hook = connection.get_hook()  # type: ignore[no-untyped-call]
        return cast("str", hook.sqlalchemy_url.render_as_string(hide_password=False))
    except (AirflowException, NotImplementedError, AttributeError, ImportError):
        # No provider for this type of connection is installed, or its hook has no URL.
        return None


def _from_fields(connection: Connection) -> str:
    from sqlalchemy import URL

    kind = str(connection.conn_type)
    if kind == "sqlite":
        return URL.create("sqlite", database=_sqlite_path(connection)).render_as_string(hide_password=False)
    scheme = connection.extra_dejson.get("sqlalchemy_scheme")
    if kind == "generic" and not scheme:
        # What Airflow stores for a type whose provider is not installed.
        raise InvalidSpecError(
            "source.connection",
            connection.conn_id,
            "Airflow stored this connection with the type 'generic', because the provider of its database was not "
            "installed. Install the provider, for example apache-airflow-providers-sqlite, and create the connection "
            "again; or define the connection in an environment variable: AIRFLOW_CONN_...='sqlite:////data/shop.db'",
        )
    url = URL.create(
        scheme or _DIALECTS.get(kind, kind),
        username=connection.login or None,
        password=connection.password or None,
        host=connection.host or None,
        port=connection.port or None,
        database=connection.schema or None,
    )
    return url.render_as_string(hide_password=False)


def _sqlite_path(connection: Connection) -> str:
    # As a URI, `sqlite:////data/shop.db` has the path in its schema; as fields it is the host.
    host, schema = connection.host or "", connection.schema or ""
    if host and schema:
        return f"/{host}/{schema}"
    return host or (schema if schema.startswith("/") else f"/{schema}")
