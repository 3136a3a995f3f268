"""The database of the rollout store: SQLite in WAL mode, or PostgreSQL."""

from __future__ import annotations

import contextlib
import errno
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

from airflow_provider_mlops.errors import BackendUnavailableError, BackendUnusableError, InvalidSpecError
from airflow_provider_mlops.serving.rollouts.tables import (
    CHANGES,
    CLOCK,
    CLOCK_NAME,
    METADATA,
    ROLLOUTS_CHANGED,
    STATISTICS_CHANGED,
)

log = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 10
_LOCK = 0x6D6C6F7073
"""Key of the advisory lock that makes writers to PostgreSQL take turns. SQLite has only one writer at a time."""
_UNDEFINED_TABLE, _UNDEFINED_SCHEMA, _NO_PRIVILEGE = "42P01", "3F000", "42501"
_INACCESSIBLE = (_UNDEFINED_TABLE, _UNDEFINED_SCHEMA)
"""PostgreSQL's codes for a table or schema that does not exist; it may come back."""


_MIN_UNUSED_PAGES, _MAX_PAGES_AT_ONCE = 1000, 10_000
_MAX_JOURNAL_BYTES = 64 * 1024 * 1024


class StoreEngine:
    """Connections to one database.

    Raises InvalidSpecError for a URL that is neither SQLite nor PostgreSQL, or whose driver is not installed.

    Parameters
    ----------
    url
        SQLAlchemy URL.

    Attributes
    ----------
    address
        The URL without its password, for messages.
    """

    def __init__(self, url: str) -> None:
        try:
            parsed = make_url(url)
            backend = parsed.get_backend_name()
            self.address = _without_password(parsed)
            if backend not in ("sqlite", "postgresql"):
                raise InvalidSpecError(
                    "rollout_store_url",
                    self.address,
                    "the rollout store needs SQLite or PostgreSQL. Use a URL such as sqlite:////data/rollouts.db",
                )
            self.is_sqlite = backend == "sqlite"
            arguments: dict[str, Any] = {"timeout": _TIMEOUT_SECONDS} if self.is_sqlite else {"connect_timeout": 5}
            if self.is_sqlite and not parsed.database:
                raise InvalidSpecError(
                    "rollout_store_url",
                    url,
                    "a database in memory cannot be shared. Name a file, such as sqlite:////data/rollouts.db",
                )
            self._path = parsed.database if self.is_sqlite else None
            self._engine = create_engine(
                parsed, connect_args=arguments, pool_pre_ping=not self.is_sqlite, pool_size=4, pool_timeout=10
            )
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise InvalidSpecError(
                "rollout_store_url",
                url.rpartition("@")[2],
                f"SQLAlchemy cannot use it ({error}). Use an SQLAlchemy URL and install its driver",
            ) from error
        if self.is_sqlite:
            event.listen(self._engine, "connect", _prepare)
            event.listen(self._engine, "begin", _begin)
        self._has_tables = False
        self._had_tables = False
        self._file: tuple[int, int] | None = None

    @property
    def is_there(self) -> bool:
        """Whether the database exists. A server's database is assumed to exist."""
        return self._path is None or os.path.exists(self._path)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a transaction that sees one state of the database.

        Raises BackendUnavailableError, and BackendUnusableError if the database must be repaired.
        """
        with self._guarded():
            self._ensure_tables()
            with self._engine.begin() as connection:
                yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a transaction for writing. No other writer has one at the same time.

        Write transactions are short and never overlap. A reader in one of them therefore sees everything that earlier
        writers have written. Raises as `reading` does; in that case, nothing is written.
        """
        with self._guarded():
            self._ensure_tables()
            with self._write() as connection:
                yield connection

    def give_back_pages(self) -> None:
        """Shrink a SQLite file of which a large part is unused. PostgreSQL does so itself."""
        if not self.is_sqlite:
            return
        with self.reading() as connection:
            unused, pages = (
                connection.scalar(text(f"PRAGMA {name}")) or 0 for name in ("freelist_count", "page_count")
            )
        if unused > max(_MIN_UNUSED_PAGES, pages // 4):
            with self._guarded(), contextlib.closing(self._engine.raw_connection()) as raw:
                # As a script: other ways take a single step, and each step gives back one page.
                raw.cursor().executescript(f"PRAGMA incremental_vacuum({_MAX_PAGES_AT_ONCE})")

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextlib.contextmanager
    def _write(self) -> Iterator[Connection]:
        with self._engine.connect().execution_options(writes=True) as connection, connection.begin():
            if not self.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            yield connection

    def _ensure_tables(self) -> None:
        """Create missing tables and indexes. If two processes do so at once, the second one finds them.

        An engine that has seen the tables does not create them again, because they may come back, as a file may. A task
        that starts a rollout has an engine of its own, which creates them.
        """
        self._reopen()
        if self._has_tables:
            return
        if self._path is not None:
            os.makedirs(os.path.dirname(os.path.abspath(self._path)), exist_ok=True)
        # Readers check without a write transaction, so that they do not wait for a writer.
        names = self._names()
        if not names.issuperset(METADATA.tables):
            if self._had_tables:
                raise self._unavailable("its tables are missing")
            self._create_tables()
        elif not names.issuperset(_INDEXES):
            self._create_missing_indexes()
        self._has_tables = self._had_tables = True
        if self._path is not None and os.path.exists(self._path):
            self._file = _identity(self._path)

    def _names(self) -> set[str]:
        """Return the names of the tables and indexes in the database."""
        with self._engine.begin() as connection:
            return set(connection.scalars(text(_NAMES["sqlite" if self.is_sqlite else "postgresql"])))

    def _create_missing_indexes(self) -> None:
        """Create indexes that a later release has added. Queries without them are slow, but not wrong."""
        try:
            with self._write() as connection:
                _create_indexes(connection)
        except DBAPIError as error:
            log.warning(
                "Could not create a missing index in the rollout store %s, so queries may be slow: %s",
                self.address,
                error.orig,
            )

    def _create_tables(self) -> None:
        with self._write() as connection:
            for table in METADATA.sorted_tables:
                connection.execute(CreateTable(table, if_not_exists=True))
            _create_indexes(connection)
            dialect = sqlite if self.is_sqlite else postgresql
            counters = [{"name": name, "total": 0} for name in (ROLLOUTS_CHANGED, STATISTICS_CHANGED)]
            connection.execute(dialect.insert(CHANGES).on_conflict_do_nothing(), counters)
            connection.execute(dialect.insert(CLOCK).on_conflict_do_nothing(), [{"name": CLOCK_NAME, "seconds": 0}])

    def _reopen(self) -> None:
        """Close connections to a SQLite file that was replaced, which would otherwise keep using the old file.

        Raises FileNotFoundError if the file is missing: it may come back, so this engine must not create it.
        """
        if self._path is None or self._file is None or _identity(self._path) == self._file:
            return
        log.warning("The file of the rollout store %s was replaced; using the new one", self.address)
        self._engine.dispose()
        self._has_tables, self._file = False, None

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            cause = str(error.orig).strip() if error.orig else str(error)
            if (unusable := self._unusable(error.orig, cause)) is not None:
                raise unusable from error
            if (
                isinstance(error, OperationalError | InterfaceError)
                or error.connection_invalidated
                or _sqlstate(error) in _INACCESSIBLE
            ):
                is_full = _primary_code(error.orig) == sqlite3.SQLITE_FULL
                raise self._unavailable(cause, "Free space on its disk" if is_full else None) from error
            raise
        except PoolTimeoutError as error:
            raise self._unavailable("all connections are in use") from error
        except sqlite3.DatabaseError as error:
            if (unusable := self._unusable(error, str(error))) is not None:
                raise unusable from error
            if isinstance(error, sqlite3.OperationalError):
                raise self._unavailable(str(error)) from error
            raise
        except FileNotFoundError as error:
            raise self._unavailable(f"its file is missing: {error}") from error
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise self._not_writable(str(error)) from error
            raise self._unavailable(f"its directory cannot be used: {error}") from error

    def _unavailable(self, cause: str, hint: str | None = None) -> BackendUnavailableError:
        # The tables may be missing when the database comes back, for example after a restore.
        self._has_tables = False
        hint = hint or (
            "Check that the file exists and can be written"
            if self.is_sqlite
            else "Check that the database is running and that [mlops] rollout_store_url is correct"
        )
        return BackendUnavailableError("The rollout store", self.address, cause, hint)

    def _unusable(self, error: BaseException | None, cause: str) -> BackendUnusableError | None:
        """Return the error for a database that must be repaired; None if a retry may help."""
        if getattr(error, "sqlstate", None) == _NO_PRIVILEGE or getattr(error, "pgcode", None) == _NO_PRIVILEGE:
            hint = "Grant its user the rights to read and write all tables of the rollout store"
            return BackendUnusableError("The rollout store", self.address, cause, hint)
        primary = _primary_code(error)
        if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            self._has_tables = False
            hint = (
                "Stop the gateways, restore the file from a backup or move it away together with its -wal and -shm "
                "files, and start them again. Without a backup, start the rollouts in it again; the prediction log is "
                "not affected"
            )
            return BackendUnusableError("The rollout store", self.address, cause, hint)
        if primary in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
            return self._not_writable(cause)
        path = self._path or ""
        if primary == sqlite3.SQLITE_CANTOPEN and os.path.isfile(path) and not _is_writable(path):
            return self._not_writable(cause)
        return None

    def _not_writable(self, cause: str) -> BackendUnusableError:
        self._has_tables = False
        hint = (
            "The user of this process must be able to write the file and its directory: check their owner and mode, "
            "and that the disk is not mounted read-only"
        )
        return BackendUnusableError("The rollout store", self.address, cause, hint)


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


def _sqlstate(error: DBAPIError) -> str | None:
    """Return PostgreSQL's code of an error, from psycopg or psycopg2."""
    return getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)


def _prepare(connection: Any, record: Any) -> None:
    """Let SQLAlchemy begin transactions itself, and keep readers and the writer from waiting for each other."""
    connection.isolation_level = None
    if connection.execute("PRAGMA page_count").fetchone()[0] == 0:
        # Lets `give_back_pages` shrink the file. It must be set before the first table is created.
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
    until = time.monotonic() + _TIMEOUT_SECONDS
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            # SQLite does not wait by itself while another process switches the mode.
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
    # A commit survives the end of the process. A power cut may undo the last ones, together with their cursors.
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute(f"PRAGMA journal_size_limit={_MAX_JOURNAL_BYTES}")


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _primary_code(error: BaseException | None) -> int | None:
    """Return SQLite's code of an error, without the details; None for other databases."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else int(code) & 0xFF


def _is_writable(path: str) -> bool:
    places = (path, os.path.dirname(os.path.abspath(path)))
    return all(os.access(place, os.W_OK, effective_ids=os.access in os.supports_effective_ids) for place in places)


def _identity(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _without_password(url: URL) -> str:
    return url.render_as_string(hide_password=True)
