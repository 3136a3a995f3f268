"""The database under the rollout store: SQLite in WAL mode, or PostgreSQL."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, NoSuchModuleError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.schema import CreateIndex, CreateTable

from airflow_provider_mlops.errors import BackendUnavailableError, InvalidSpecError
from airflow_provider_mlops.serving.rollouts.tables import CHANGES, METADATA, ROLLOUTS_CHANGED, STATISTICS_CHANGED

log = logging.getLogger(__name__)

_PATIENCE_SECONDS = 10
_LOCK = 0x6D6C6F7073
"""The number of the lock that writers to PostgreSQL take one after the other. SQLite has one writer anyway."""
_GONE = ("42P01", "3F000", "42501")
"""What PostgreSQL calls a table or a schema that is not there, or that may be used no longer."""


class StoreEngine:
    """Connections to one database.

    Raises InvalidSpecError for a URL that is neither SQLite nor PostgreSQL or whose driver is not installed.

    :param url: a SQLAlchemy URL.
    """

    def __init__(self, url: str) -> None:
        try:
            parsed = make_url(url)
            backend = parsed.get_backend_name()
            if backend not in ("sqlite", "postgresql"):
                raise InvalidSpecError(
                    "rollout_store_url", _shown(parsed), "the rollout store is in SQLite or PostgreSQL"
                )
            self.address = _shown(parsed)
            self.is_sqlite = backend == "sqlite"
            arguments: dict[str, Any] = {"timeout": _PATIENCE_SECONDS} if self.is_sqlite else {"connect_timeout": 5}
            if self.is_sqlite and not parsed.database:
                raise InvalidSpecError("rollout_store_url", url, "name a file: what is in memory only is not shared")
            self._path = parsed.database if self.is_sqlite else None
            self._engine = create_engine(
                parsed, connect_args=arguments, pool_pre_ping=not self.is_sqlite, pool_size=4, pool_timeout=10
            )
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise InvalidSpecError(
                "rollout_store_url", url.rpartition("@")[2], f"{error}: give an SQLAlchemy URL and install its driver"
            ) from error
        if self.is_sqlite:
            event.listen(self._engine, "connect", _prepare)
            event.listen(self._engine, "begin", _begin)
        self._is_made = False
        self._was_made = False
        self._file: tuple[int, int] | None = None

    @property
    def is_there(self) -> bool:
        """Whether there is a database already; of a server it is taken for granted."""
        return self._path is None or os.path.exists(self._path)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database. Raises BackendUnavailableError."""
        with self._guarded():
            self._make()
            with self._engine.begin() as connection:
                yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that no other writer is in at the same time. Raises BackendUnavailableError; nothing is written then.

        They are short, and that they follow each other is what makes it exact: whoever looks in it for what another
        writer may have written either sees it or comes first.
        """
        with self._guarded():
            self._make()
            with self._write() as connection:
                yield connection

    def close(self) -> None:
        """Give up all connections."""
        self._engine.dispose()

    @contextlib.contextmanager
    def _write(self) -> Iterator[Connection]:
        with self._engine.connect().execution_options(writes=True) as connection, connection.begin():
            if not self.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            yield connection

    def _make(self) -> None:
        """Make the tables and indexes that are not there; of two processes at once the second one finds them.

        Tables that were there are not made anew by who only follows: they may come back, as a file may. Whoever begins
        a rollout comes with an engine of its own, and makes them.
        """
        self._reopen()
        if self._is_made:
            return
        if self._path is not None:
            os.makedirs(os.path.dirname(os.path.abspath(self._path)), exist_ok=True)
        # Who only reads must not wait for a writer to find them there.
        names = self._names()
        if not names.issuperset(METADATA.tables):
            if self._was_made:
                raise self._away("its tables are gone")
            self._make_tables()
        elif not names.issuperset(_INDEXES):
            self._make_indexes()
        self._is_made = self._was_made = True
        if self._path is not None and os.path.exists(self._path):
            self._file = _identity(self._path)

    def _names(self) -> set[str]:
        """What the tables and indexes in the database are called."""
        with self._engine.begin() as connection:
            return set(connection.scalars(text(_NAMES["sqlite" if self.is_sqlite else "postgresql"])))

    def _make_indexes(self) -> None:
        """Make those that a later release has added. Without them it is slower, but not wrong."""
        try:
            with self._write() as connection:
                _create_indexes(connection)
        except DBAPIError as error:
            log.warning("An index is missing in %s, and cannot be made: %s", self.address, error.orig)

    def _make_tables(self) -> None:
        with self._write() as connection:
            for table in METADATA.sorted_tables:
                connection.execute(CreateTable(table, if_not_exists=True))
            _create_indexes(connection)
            dialect = sqlite if self.is_sqlite else postgresql
            names = [{"name": name, "number": 0} for name in (ROLLOUTS_CHANGED, STATISTICS_CHANGED)]
            connection.execute(dialect.insert(CHANGES).on_conflict_do_nothing(), names)

    def _reopen(self) -> None:
        """Let go of a SQLite file that was replaced, which open connections would go on to use.

        Raises FileNotFoundError if it is gone: it may come back, and is not to be made meanwhile by who only follows.
        """
        if self._path is None or self._file is None or _identity(self._path) == self._file:
            return
        log.warning("The rollout store %s was made anew", self.address)
        self._engine.dispose()
        self._is_made, self._file = False, None

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except (OperationalError, InterfaceError) as error:
            raise self._away(str(error.orig).strip() if error.orig else str(error)) from error
        except DBAPIError as error:
            if error.connection_invalidated or _state(error) in _GONE:
                raise self._away(str(error.orig).strip()) from error
            raise
        except PoolTimeoutError as error:
            raise self._away("all connections are taken by others for too long") from error
        except sqlite3.OperationalError as error:
            raise self._away(str(error)) from error
        except FileNotFoundError as error:
            raise self._away(f"its file is gone: {error}") from error
        except OSError as error:
            raise self._away(f"its directory cannot be used: {error}") from error

    def _away(self, reason: str) -> BackendUnavailableError:
        # Tables may be gone when it comes back, such as after a restore.
        self._is_made = False
        return BackendUnavailableError("The rollout store", self.address, reason, "Check that the database is running")


_NAMES = {
    "sqlite": "SELECT name FROM sqlite_master",
    "postgresql": "SELECT relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace "
    "WHERE nspname = current_schema()",
}
_INDEXES = {str(index.name) for table in METADATA.tables.values() for index in table.indexes}


def _create_indexes(connection: Connection) -> None:
    for table in METADATA.sorted_tables:
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            connection.execute(CreateIndex(index, if_not_exists=True))


def _state(error: DBAPIError) -> str | None:
    """PostgreSQL's five letters for what is wrong, as psycopg or as psycopg2 has them."""
    return getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)


def _prepare(connection: Any, record: Any) -> None:
    """Let SQLAlchemy begin transactions itself, and let readers and a writer not wait for each other."""
    connection.isolation_level = None
    until = time.monotonic() + _PATIENCE_SECONDS
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            # SQLite does not wait by itself while another process switches the mode.
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
    # A commit survives the end of the process; after a power cut the last ones may be undone, cursor and all.
    connection.execute("PRAGMA synchronous=NORMAL")


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _identity(path: str) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino


def _shown(url: URL) -> str:
    return url.render_as_string(hide_password=True)
