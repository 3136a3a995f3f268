"""Extract from a real MariaDB server through PyMySQL."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_mlops.data.task_identity import TaskIdentity
from airflow_provider_mlops.errors import BackendUnavailableError, InvalidSpecError, RejectedError
from airflow_provider_mlops.lifecycle.extract.sources import SqlSource
from airflow_provider_mlops.lifecycle.extract.spec import ExtractResult
from airflow_provider_mlops.lifecycle.extract.sql import read_sql
from airflow_provider_mlops.lifecycle.extract.step import STEP
from airflow_provider_mlops.lifecycle.workspace import Workspace

pymysql = pytest.importorskip("pymysql", reason="MariaDB's driver is missing: pip install pymysql")
SERVER = shutil.which("mariadbd", path=f"{os.environ['PATH']}:/usr/sbin")
pytestmark = pytest.mark.skipif(SERVER is None, reason="MariaDB's server is missing: apt-get install mariadb-server")

NOON = datetime(2026, 1, 2, 12, 0, 0, 5)
# Each column's type, what stands in the row with values, and what becomes of it.
TYPES: dict[str, tuple[str, str, str, Any]] = {
    "whole": ("int", "1", "int64", 1),
    "truth": ("boolean", "true", "int64", 1),
    "big": ("bigint", "9007199254740993", "int64", 9007199254740993),
    "amount": ("decimal(12, 3)", "1.125", "double", 1.125),
    "ratio": ("double", "2.5", "double", 2.5),
    "moment": ("datetime(6)", "'2026-01-02 12:00:00.000005'", "timestamp[us]", NOON),
    "day": ("date", "'2026-01-02'", "date32[day]", date(2026, 1, 2)),
    "clock": ("time", "'12:30'", "duration[us]", timedelta(hours=12, minutes=30)),
    "name": ("text", "'naïve 日本 🎈'", "string", "naïve 日本 🎈"),
    "bytes": ("varbinary(9)", "x'00ff'", "binary", b"\x00\xff"),
    "mood": ("enum('sad', 'happy')", "'happy'", "string", "happy"),
    "document": ("json", """'{"a": 1}'""", "string", '{"a": 1}'),
    "badge": ("uuid", "'00000000-0000-0000-0000-00000000000a'", "string", "00000000-0000-0000-0000-00000000000a"),
}


class Server:
    """A MariaDB server at a free port of 127.0.0.1 with a user `ada` and a database `shop`."""

    def __init__(self) -> None:
        assert SERVER is not None
        # pytest's directories are closed to others, and the server does not run as root.
        self.directory = Path(tempfile.mkdtemp(prefix="mlops-mariadb-"))
        self.user = ["--user=mysql"] if os.geteuid() == 0 else []
        if self.user:
            shutil.chown(self.directory, "mysql")
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = listener.getsockname()[1]
        self.data = f"--datadir={self.directory / 'data'}"
        subprocess.run(
            ["mariadb-install-db", "--no-defaults", *self.user, self.data, "--auth-root-authentication-method=normal"],
            stdout=subprocess.DEVNULL,
            timeout=120,
            check=True,
        )
        self.start()
        root = pymysql.connect(unix_socket=str(self.directory / "socket"), user="root", autocommit=True)
        with root, root.cursor() as cursor:
            cursor.execute("CREATE DATABASE shop CHARACTER SET utf8mb4")
            cursor.execute("CREATE USER ada@'127.0.0.1' IDENTIFIED BY 'pass/word 1@'")
            cursor.execute("GRANT ALL ON shop.* TO ada@'127.0.0.1'")

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        with open(self.directory / "log", "ab") as output:
            self.process = subprocess.Popen(
                [
                    str(SERVER),
                    "--no-defaults",
                    *self.user,
                    self.data,
                    f"--port={self.port}",
                    "--bind-address=127.0.0.1",
                    f"--socket={self.directory / 'socket'}",
                    f"--pid-file={self.directory / 'pid'}",
                ],
                stdout=output,
                stderr=output,
            )
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.1)
        raise TimeoutError((self.directory / "log").read_text()[-2000:])

    def kill(self) -> None:
        """End the server as a crash would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def url(self, password: str = "pass%2Fword 1%40", database: str = "shop") -> str:
        """The SQLAlchemy URL."""
        return f"mysql+pymysql://ada:{password}@127.0.0.1:{self.port}/{database}"

    def execute(self, *statements: str) -> None:
        """Run statements in sessions in UTC."""
        connection = pymysql.connect(
            host="127.0.0.1", port=self.port, user="ada", password="pass/word 1@", database="shop", autocommit=True
        )
        with connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    try:
        columns = ", ".join(f"{name} {kind}" for name, (kind, *_) in TYPES.items())
        server.execute(
            f"CREATE TABLE things ({columns})",
            "INSERT INTO things (whole) SELECT NULL FROM seq_1_to_5",
            f"INSERT INTO things VALUES ({', '.join(value for _, value, *_ in TYPES.values())})",
        )
        yield server
    finally:
        server.kill()
        shutil.rmtree(server.directory)


@pytest.fixture
def workspace(tmp_path: Path, task: TaskIdentity, server: Server) -> Workspace:
    return workspace_of(tmp_path, task, server.url())


def workspace_of(tmp_path: Path, task: TaskIdentity, url: str) -> Workspace:
    secrets = {"connection_shop": url}
    return Workspace.model_validate({"storage_uri": str(tmp_path / "mlops"), "task": task, "secrets": secrets})


def extract(workspace: Workspace, query: str, **fields: Any) -> ExtractResult:
    source = {"kind": "sql", "query": query, "connection": "shop"}
    return STEP.run(STEP.parse({"dataset_name": "sales", "source": source, **fields}), workspace)


def ids(result: ExtractResult) -> list[int]:
    return sorted(row["id"] for row in result.dataset.arrow().to_pylist())


def in_run(workspace: Workspace, run_id: str, **task: Any) -> Workspace:
    return workspace.model_copy(update={"task": workspace.task.model_copy(update={"run_id": run_id, **task})})


def test_types(workspace: Workspace) -> None:
    found = [extract(workspace, "SELECT * FROM things", batch_rows=batch_rows) for batch_rows in (3, 1000)]
    assert found[0].fingerprint == found[1].fingerprint
    arrow = found[1].dataset.arrow()
    assert {field.name: str(field.type) for field in arrow.schema} == {n: kind for n, (_, _, kind, _) in TYPES.items()}
    assert arrow.to_pylist()[-1] == {name: value for name, (*_, value) in TYPES.items()}


def test_rows_that_nobody_reads_do_not_come(workspace: Workspace) -> None:
    """The driver would read all of them before it lets go of the connection: about a minute."""
    started = time.monotonic()
    with pytest.raises(RejectedError, match="max_rows: more than 1,000 rows"):
        extract(workspace, "SELECT seq AS id FROM seq_1_to_50000000", max_rows=1000, batch_rows=1000)
    assert time.monotonic() - started < 5


def test_increments(workspace: Workspace, server: Server) -> None:
    server.execute(
        "CREATE TABLE sales (id int, moment datetime)",
        "INSERT INTO sales SELECT seq, '2026-01-01' + INTERVAL seq HOUR FROM seq_0_to_47",
    )
    eight = datetime(2026, 1, 1, 8, tzinfo=timezone(timedelta(hours=2)))
    interval = in_run(workspace, "one", interval_start=eight, interval_end=eight + timedelta(hours=2))
    assert ids(extract(interval, "SELECT * FROM sales", incremental={"kind": "interval", "column": "moment"})) == [6, 7]
    query = "SELECT * FROM sales WHERE moment >= :interval_start AND moment < :interval_end"
    assert ids(extract(interval, query)) == [6, 7]
    by = {"kind": "watermark", "column": "moment", "initial": "2026-01-02 21:00:00"}
    assert ids(extract(in_run(workspace, "two"), "SELECT * FROM sales", incremental=by)) == [46, 47]
    server.execute("INSERT INTO sales VALUES (99, '2026-02-01')")
    assert ids(extract(in_run(workspace, "three"), "SELECT * FROM sales", incremental=by)) == [99]


def test_what_the_server_refuses(server: Server, tmp_path: Path, task: TaskIdentity) -> None:
    with pytest.raises(InvalidSpecError, match=r"rejects the login\. Correct the user and the password"):
        extract(workspace_of(tmp_path, task, server.url(password="hush")), "SELECT 1 AS id")
    with pytest.raises(InvalidSpecError, match=r"source\.connection=.*(Unknown database|rejects)"):
        extract(workspace_of(tmp_path, task, server.url(database="nowhere")), "SELECT 1 AS id")
    workspace = workspace_of(tmp_path, task, server.url())
    with pytest.raises(InvalidSpecError, match=r"source\.query=.*doesn't exist"):
        extract(workspace, "SELECT * FROM nowhere")
    with pytest.raises(InvalidSpecError, match="it must be a SELECT statement"):
        extract(workspace, "DELETE FROM things")
    assert extract(workspace, "SELECT * FROM things").rows == 6


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_server_that_goes_away_while_it_is_read(server: Server, workspace: Workspace) -> None:
    source = SqlSource(query="SELECT seq AS id FROM seq_1_to_50000000", connection="shop")
    batches = read_sql(source, workspace, None, 1000, {})
    assert next(batches).num_rows == 1000
    server.kill()
    try:
        with pytest.raises(BackendUnavailableError, match="Check the connection"):
            for _ in batches:
                pass
    finally:
        server.start()
    assert extract(workspace, "SELECT 1 AS id").rows == 1
