"""A private PostgreSQL cluster for a test, run with the binaries of the Debian package."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

PASSWORD = "pass/word 1@"


def programs() -> Path | None:
    """Return the directory of the newest `initdb` and `pg_ctl`; None if PostgreSQL's server is not installed."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    on_path = shutil.which("pg_ctl")
    directories = [*([Path(on_path).resolve().parent] if on_path else []), *reversed(versions)]
    return next((path for path in directories if (path / "initdb").exists()), None)


class Cluster:
    """A server on a free port of 127.0.0.1 with the user `ada`, who needs a password, and the database `shop`."""

    def __init__(self) -> None:
        directory = programs()
        assert directory is not None, "PostgreSQL's server is not installed"
        self.programs = directory
        # Other users cannot read pytest's directories, and PostgreSQL does not run as root.
        self.directory = Path(tempfile.mkdtemp(prefix="mlops-postgresql-"))
        self.user = "postgres" if os.geteuid() == 0 else None
        if self.user:
            shutil.chown(self.directory, self.user)
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = listener.getsockname()[1]
        (self.directory / "password").write_text(PASSWORD)
        self._call(
            "initdb",
            *("-U", "ada", "--pwfile", str(self.directory / "password"), "-A", "scram-sha-256"),
            *("-E", "UTF8", "--locale", "C", "--no-sync"),
        )
        self.start()
        self.execute("CREATE DATABASE shop", database="postgres")

    def start(self) -> None:
        """Start the server, and wait until it accepts connections."""
        options = f"-p {self.port} -k {self.directory} -c listen_addresses=127.0.0.1 -c fsync=off"
        self._call("pg_ctl", "-w", "-l", str(self.directory / "log"), "-o", options, "start")

    def stop(self, mode: str = "immediate") -> None:
        """Stop the server: `fast` disconnects clients, `immediate` is like a crash."""
        self._call("pg_ctl", "-w", "-m", mode, "stop")

    def remove(self) -> None:
        """Stop the server if it is running, and delete its files."""
        if (self.directory / "data" / "postmaster.pid").exists():
            self.stop()
        shutil.rmtree(self.directory)

    def url(self, driver: str = "postgresql+psycopg", password: str = PASSWORD, database: str = "shop") -> str:
        """Return the SQLAlchemy URL."""
        import sqlalchemy

        url = sqlalchemy.URL.create(driver, "ada", password, "127.0.0.1", self.port, database)
        return url.render_as_string(hide_password=False)

    def execute(self, *statements: str, database: str = "shop") -> None:
        """Run statements, each in its own transaction."""
        import psycopg

        with psycopg.connect(
            host="127.0.0.1", port=self.port, user="ada", password=PASSWORD, dbname=database, autocommit=True
        ) as connection:
            for statement in statements:
                connection.execute(statement)  # type: ignore[call-overload]

    def _call(self, program: str, *arguments: str) -> None:
        # Into a file, since the server that pg_ctl starts keeps inherited pipes open.
        with open(self.directory / "output", "ab") as output:
            subprocess.run(
                [str(self.programs / program), "-D", str(self.directory / "data"), *arguments],
                user=self.user,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=60,
                check=True,
            )
