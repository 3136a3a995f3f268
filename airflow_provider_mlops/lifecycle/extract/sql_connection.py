"""Connections to databases: their URLs, drivers and errors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_provider_mlops.errors import BackendUnavailableError, InvalidSpecError
from airflow_provider_mlops.lifecycle.extract.sources import SqlSource

if TYPE_CHECKING:
    import sqlalchemy

    from airflow_provider_mlops.lifecycle.workspace import Workspace

# Words in a database's message that say whether a retry can help. The databases have no error code in common.
_UNAVAILABLE = (
    "locked",
    "refused",
    "timeout",
    "timed out",
    "could not connect",
    "server closed",
    "gone away",
    "lost connection",
    "terminating connection",
    "shutting down",
    "starting up",
    "connection reset",
    "broken pipe",
)
_WRONG_LOGIN = ("authentication failed", "access denied", "no password", "no pg_hba.conf entry")
_WRONG_DATABASE = ("does not exist", "unknown database")

# Interchangeable drivers by database, with the module that each needs.
_DRIVERS = {
    "postgresql": {"postgresql+psycopg": "psycopg", "postgresql+psycopg2": "psycopg2"},
    "mysql": {"mysql+pymysql": "pymysql", "mysql+mysqldb": "MySQLdb", "mysql+mysqlconnector": "mysql.connector"},
    "mariadb": {"mariadb+pymysql": "pymysql", "mariadb+mysqldb": "MySQLdb"},
}


def connection_url(source: SqlSource, workspace: Workspace) -> sqlalchemy.URL:
    """Return the URL of the source's connection, with an installed driver.

    Raises
    ------
    InvalidSpecError
        If there is no such connection, or if its URL is wrong.
    """
    import sqlalchemy

    secret = workspace.secret(f"connection_{source.connection}")
    if secret is None:
        raise InvalidSpecError(
            "source.connection",
            source.connection,
            "it must be an Airflow connection. Create the connection, or correct the name",
        )
    try:
        url = sqlalchemy.make_url(secret)
    except sqlalchemy.exc.ArgumentError:
        raise InvalidSpecError(
            "source.connection",
            source.connection,
            "its URI must be one that SQLAlchemy can read. Correct the connection",
        ) from None
    url = _with_driver(url)
    # SQLite would create an empty database at a wrong path.
    on_disk = url.get_backend_name() == "sqlite" and url.database and not url.database.startswith((":memory:", "file:"))
    if on_disk and not os.path.exists(str(url.database)):
        raise InvalidSpecError(
            "source.connection",
            source.connection,
            f"the database file {url.database} does not exist. Correct the connection",
        )
    return url


def _with_driver(url: sqlalchemy.URL) -> sqlalchemy.URL:
    """Return the URL with an installed driver if its own is not installed.

    An Airflow connection names the driver of the worker, and the step may run elsewhere.
    """
    from importlib.util import find_spec

    if url.drivername == "postgres":
        url = url.set(drivername="postgresql")
    drivers = _DRIVERS.get(url.get_backend_name())
    if drivers is None:
        return url
    named = f"{url.get_backend_name()}+{url.get_driver_name()}"
    installed = [name for name, module in drivers.items() if find_spec(module.partition(".")[0]) is not None]
    return url.set(drivername=installed[0]) if named in drivers and installed and named not in installed else url


@contextmanager
def connected(url: sqlalchemy.URL, source: SqlSource) -> Iterator[sqlalchemy.Connection]:
    """Connect to the database, and close the connection at the end.

    Raises
    ------
    InvalidSpecError
        If the driver, the login or the name of the database is wrong.
    BackendUnavailableError
        If the database is unavailable.
    """
    import sqlalchemy

    address = url.render_as_string(hide_password=True)
    try:
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.NullPool)
        connection = engine.connect()
    except (ModuleNotFoundError, sqlalchemy.exc.NoSuchModuleError) as error:
        raise InvalidSpecError(
            "source.connection",
            source.connection,
            f"the driver for {url.drivername} is not installed ({error}). Install it where the step runs",
        ) from error
    except sqlalchemy.exc.DBAPIError as error:
        message = str(error.orig)
        if any(word in message.lower() for word in _WRONG_LOGIN):
            raise InvalidSpecError(
                "source.connection",
                source.connection,
                f"{address} rejects the login. Correct the user and the password of the connection",
            ) from error
        if any(word in message.lower() for word in _WRONG_DATABASE):
            raise InvalidSpecError(
                "source.connection",
                source.connection,
                f"the database reports: {message.strip().rstrip('.')}. Correct the database name: the field Schema of "
                "the connection",
            ) from error
        raise BackendUnavailableError("The database", address, message.strip(), _check(source)) from error
    try:
        yield connection
    except BaseException:
        _abort(connection)
        raise
    finally:
        connection.close()
        engine.dispose()


def _abort(connection: sqlalchemy.Connection) -> None:
    """End a connection at once, instead of reading the remaining rows or waiting for the server first."""
    if not connection.invalidated:
        # PyMySQL reads the remaining rows even then, as soon as its result is garbage-collected.
        unread = getattr(connection.connection.driver_connection, "_result", None)
        if unread is not None and hasattr(unread, "unbuffered_active"):
            unread.unbuffered_active = False
    connection.invalidate()


@contextmanager
def query_errors(source: SqlSource, url: sqlalchemy.URL) -> Iterator[None]:
    """Turn the errors of a query into InvalidSpecError, or BackendUnavailableError if a retry can help."""
    import sqlalchemy

    try:
        yield
    except sqlalchemy.exc.DBAPIError as error:
        message = str(error.orig).strip()
        if error.connection_invalidated or any(word in message.lower() for word in _UNAVAILABLE):
            address = url.render_as_string(hide_password=True)
            raise BackendUnavailableError("The database", address, message, _check(source)) from error
        raise InvalidSpecError("source.query", source.query, f"the database rejects it: {message}") from error
    except sqlalchemy.exc.StatementError as error:
        message = str(error.orig).partition(" (Background")[0]
        raise InvalidSpecError(
            "source.query",
            source.query,
            f"a query parameter is missing or has a wrong value ({message}). Set it in parameters, or escape a literal "
            "colon as \\:",
        ) from error
    except ValueError as error:
        # For example a date before the year 1, which Python cannot represent.
        raise InvalidSpecError(
            "source.query", source.query, f"the driver cannot read a value ({error}). Cast the column in the query"
        ) from error


def _check(source: SqlSource) -> str:
    return f"Check the connection {source.connection!r}"
