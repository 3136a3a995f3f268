"""Extract from a real PostgreSQL server: types, streaming, increments, and every way in which it can refuse."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from airflow_provider_mlops.data.task_identity import TaskIdentity
from airflow_provider_mlops.errors import BackendUnavailableError, InvalidSpecError, RejectedError
from airflow_provider_mlops.lifecycle.extract.sources import SqlSource
from airflow_provider_mlops.lifecycle.extract.spec import ExtractResult
from airflow_provider_mlops.lifecycle.extract.sql import read_sql
from airflow_provider_mlops.lifecycle.extract.step import STEP
from airflow_provider_mlops.lifecycle.workspace import Workspace
from tests.helpers.postgresql_cluster import PASSWORD, Cluster, programs

pytest.importorskip("psycopg", reason="PostgreSQL's driver is missing: pip install 'psycopg[binary]'")
pytestmark = pytest.mark.skipif(programs() is None, reason="PostgreSQL's server is missing: apt-get install postgresql")

DRIVERS = ("postgresql+psycopg", "postgresql+psycopg2")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    cluster = Cluster()
    try:
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture(params=DRIVERS)
def workspace(request: pytest.FixtureRequest, tmp_path: Path, task: TaskIdentity, cluster: Cluster) -> Workspace:
    pytest.importorskip(request.param.partition("+")[2], reason=f"the driver of {request.param} is missing")
    return workspace_of(tmp_path, task, cluster.url(request.param))


def workspace_of(tmp_path: Path, task: TaskIdentity, url: str) -> Workspace:
    secrets = {"connection_shop": url}
    return Workspace.model_validate({"storage_uri": str(tmp_path / "mlops"), "task": task, "secrets": secrets})


def extract(
    workspace: Workspace, query: str, *, parameters: dict[str, Any] | None = None, **fields: Any
) -> ExtractResult:
    source = {"kind": "sql", "query": query, "connection": "shop", "parameters": parameters or {}}
    return STEP.run(STEP.parse({"dataset_name": "sales", "source": source, **fields}), workspace)


def rows(result: ExtractResult) -> list[dict[str, Any]]:
    return result.dataset.arrow().to_pylist()


def in_run(workspace: Workspace, run_id: str, **task: Any) -> Workspace:
    return workspace.model_copy(update={"task": workspace.task.model_copy(update={"run_id": run_id, **task})})


# -- types -----------------------------------------------------------------------------------------

NOON = datetime(2026, 1, 2, 12, 0, 0, 5)
# Each column's type, what stands in the first of two rows with values, and what becomes of it.
TYPES: dict[str, tuple[str, str, str, Any]] = {
    "whole": ("int", "1", "int64", 1),
    "big": ("bigint", "9007199254740993", "int64", 9007199254740993),
    "amount": ("numeric(12, 3)", "1.125", "double", 1.125),
    "single": ("real", "1.5", "double", 1.5),
    "double": ("double precision", "'-Infinity'", "double", float("-inf")),
    "truth": ("boolean", "true", "bool", True),
    "moment": ("timestamp", "'2026-01-02 12:00:00.000005'", "timestamp[us]", NOON),
    "zoned": ("timestamptz", "'2026-01-02 14:00:00.000005+02'", "timestamp[us, tz=UTC]", NOON.replace(tzinfo=UTC)),
    "day": ("date", "'2026-01-02'", "date32[day]", date(2026, 1, 2)),
    "clock": ("time", "'12:30'", "time64[us]", time(12, 30)),
    "zoned_clock": ("timetz", "'12:30+02'", "string", "12:30:00+02:00"),
    "span": ("interval", "'1 day 2 hours'", "duration[us]", timedelta(days=1, hours=2)),
    "key": ("uuid", "'00000000-0000-0000-0000-00000000000a'", "string", "00000000-0000-0000-0000-00000000000a"),
    "name": ("text", "'naïve 日本 🎈'", "string", "naïve 日本 🎈"),
    "short": ("varchar(9)", "''", "string", ""),
    "bytes": ("bytea", r"'\x00ff'", "binary", b"\x00\xff"),
    "numbers": ("int[]", "'{1,NULL,3}'", "string", "[1, null, 3]"),
    "words": ("text[]", "'{a,b}'", "string", '["a", "b"]'),
    "mood": ("mood", "'happy'", "string", "happy"),
    "address": ("inet", "'10.0.0.1'", "string", "10.0.0.1"),
    "document": ("jsonb", """'{"b": [1], "a": null}'""", "string", '{"a": null, "b": [1]}'),
    "scalar": ("json", "'1'", "string", "1"),
}


@pytest.fixture(scope="module")
def things(cluster: Cluster) -> str:
    """A table of all types: five rows without a value, one with the values above, one whose JSON is of another kind."""
    columns = ", ".join(f"{name} {kind}" for name, (kind, *_) in TYPES.items())
    values = ", ".join(value for _, value, *_ in TYPES.values())
    cluster.execute(
        "CREATE TYPE mood AS ENUM ('sad', 'happy')",
        f"CREATE TABLE things ({columns})",
        "INSERT INTO things (whole) SELECT NULL FROM generate_series(1, 5)",
        f"INSERT INTO things VALUES ({values})",
        """INSERT INTO things (whole, amount, document, scalar) VALUES (2, 'NaN', '"text"', '{"a": 1}')""",
    )
    return "SELECT * FROM things"


@pytest.mark.parametrize("batch_rows", [3, 1000])
def test_types(workspace: Workspace, things: str, batch_rows: int) -> None:
    result = extract(workspace, things, batch_rows=batch_rows)
    arrow = result.dataset.arrow()
    assert {field.name: str(field.type) for field in arrow.schema} == {
        name: kind for name, (_, _, kind, _) in TYPES.items()
    }
    *empty, first, second = arrow.to_pylist()
    assert all(value is None for row in empty for value in row.values())
    assert first == {name: value for name, (*_, value) in TYPES.items()}
    assert (second["document"], second["scalar"]) == ('"text"', '{"a": 1}')
    assert second["amount"] != second["amount"]


def test_the_fingerprint_depends_on_neither_driver_nor_batches_nor_order(
    cluster: Cluster, things: str, tmp_path: Path, task: TaskIdentity
) -> None:
    found = {
        extract(workspace_of(tmp_path, task, cluster.url(driver)), query, batch_rows=batch_rows).fingerprint
        for driver in DRIVERS
        for batch_rows in (2, 1000)
        for query in (things, f"{things} ORDER BY whole DESC")
    }
    assert len(found) == 1


def test_columns_without_values_keep_their_types(workspace: Workspace, things: str) -> None:
    for condition, count in (("whole IS NULL", 5), ("false", 0)):
        result = extract(workspace, f"{things} WHERE {condition}", min_rows=0)
        assert result.rows == count
        assert [str(kind) for kind in result.dataset.arrow().schema.types] == [kind for _, _, kind, _ in TYPES.values()]


# -- streaming -------------------------------------------------------------------------------------


def test_rows_are_streamed_in_bounded_memory(cluster: Cluster, tmp_path: Path) -> None:
    """400 MB of text more through a process must not make it grow by a quarter of that."""
    peaks = []
    for count in (30_000, 430_000):
        query = f"SELECT i AS id, repeat(md5(i::text), 32) AS wide FROM generate_series(1, {count}) AS i"
        source = {"kind": "sql", "query": query, "connection": "shop"}
        request, result = tmp_path / f"{count}.json", tmp_path / f"{count}-result.json"
        workspace = {
            "storage_uri": str(tmp_path / str(count)),
            "task": {"dag_id": "shop", "run_id": "run", "task_id": "extract"},
        }
        spec = {"dataset_name": "wide", "source": source, "batch_rows": 10_000}
        request.write_text(json.dumps({"step": "extract", "spec": spec, "workspace": workspace}))
        environment = {**os.environ, "AIRFLOW_PROVIDER_MLOPS_SECRET_CONNECTION_SHOP": cluster.url()}
        code = (
            "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); "
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
        )
        step = [sys.executable, "-m", "airflow_provider_mlops.lifecycle", str(request), str(result)]
        done = subprocess.run(
            [sys.executable, "-c", code, *step],
            env=environment,
            capture_output=True,
            text=True,
            timeout=200,
            check=True,
        )
        assert json.loads(result.read_text())["result"]["rows"] == count
        peaks.append(int(done.stdout.split()[-1]) / 1024)
    assert peaks[1] - peaks[0] < 100


def test_too_many_rows_end_the_query_early(workspace: Workspace) -> None:
    """The server would take an hour over the rows that nobody reads."""
    with pytest.raises(RejectedError, match="max_rows: more than 2,000 rows"):
        extract(
            workspace,
            "SELECT i AS id, pg_sleep(CASE WHEN i > 5000 THEN 3600 ELSE 0 END) IS NULL AS late "
            "FROM generate_series(1, 1000000) AS i",
            max_rows=2000,
            batch_rows=1000,
        )


# -- increments ------------------------------------------------------------------------------------


@pytest.fixture
def sales(cluster: Cluster) -> Iterator[None]:
    """A sale an hour from midnight on, by a role whose sessions are far from UTC."""
    cluster.execute(
        "DROP TABLE IF EXISTS sales",
        "CREATE TABLE sales (id int, zoned timestamptz, naive timestamp, day date)",
        "SET timezone = 'UTC'; INSERT INTO sales SELECT i, t, t, t FROM generate_series(0, 47) AS i, "
        "LATERAL (SELECT '2026-01-01 00:00'::timestamptz + i * interval '1 hour') AS moment (t)",
        "ALTER ROLE ada SET timezone = 'America/New_York'",
    )
    yield
    cluster.execute("ALTER ROLE ada RESET timezone")


@pytest.mark.parametrize("column", ["zoned", "naive"])
def test_the_rows_of_an_interval(workspace: Workspace, sales: None, column: str) -> None:
    start = datetime(2026, 1, 1, 6, tzinfo=UTC)
    workspace = in_run(workspace, "one", interval_start=start, interval_end=start + timedelta(hours=6))
    result = extract(workspace, "SELECT * FROM sales -- all", incremental={"kind": "interval", "column": column})
    assert [row["id"] for row in rows(result)] == [6, 7, 8, 9, 10, 11]
    result = extract(workspace, "SELECT * FROM sales WHERE zoned >= :interval_start AND zoned < :interval_end")
    assert [row["id"] for row in rows(result)] == [6, 7, 8, 9, 10, 11]


@pytest.mark.parametrize("column", ["zoned", "naive", "id"])
def test_what_is_past_the_watermark(workspace: Workspace, sales: None, cluster: Cluster, column: str) -> None:
    query, by = "SELECT * FROM sales -- all", {"kind": "watermark", "column": column}
    first = extract(in_run(workspace, "one"), query, incremental=by)
    assert first.rows == 48
    nothing = extract(in_run(workspace, "two"), query, incremental=by, min_rows=0)
    assert (nothing.rows, nothing.watermark) == (0, first.watermark)
    moment = "2026-01-03 00:00:00.000001"
    cluster.execute(f"INSERT INTO sales VALUES (99, '{moment}+00', '{moment}')")
    third = extract(in_run(workspace, "three"), query, incremental=by)
    assert [row["id"] for row in rows(third)] == [99]
    again = extract(in_run(workspace, "three"), query, incremental=by)
    assert again.fingerprint == third.fingerprint


def test_a_watermark_begins_where_its_text_says(workspace: Workspace, sales: None) -> None:
    by = {"kind": "watermark", "column": "zoned", "initial": "2026-01-02T22:00:00+00:00"}
    assert [row["id"] for row in rows(extract(workspace, "SELECT * FROM sales", incremental=by))] == [47]


def test_parameters(workspace: Workspace, sales: None) -> None:
    def ids(condition: str, **parameters: Any) -> list[int]:
        return [
            row["id"]
            for row in rows(extract(workspace, f"SELECT * FROM sales WHERE {condition}", parameters=parameters))
        ]

    assert ids("zoned >= :since", since="2026-01-02 22:00:00+00:00") == [46, 47]
    assert ids("id = ANY(:ids)", ids=[3, 5]) == [3, 5]
    assert ids("id::text = :text AND id % 2 = 1", text="7") == [7]


# -- what goes wrong -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELECT * FROM nowhere", 'relation "nowhere" does not exist'),
        ("SELECT nothing FROM things", 'column "nothing" does not exist'),
        ("SELECT whole FROM things WHERE 1 / (whole - 1) = 0", "division by zero"),
        ("SELECT whole FROM things WHERE whole > :least", "bind parameter 'least'"),
        ("SELECT 1 AS a, 2 AS a", "names of its columns must be unique"),
        ("DELETE FROM things", "syntax error"),
        ("SELECT '0044-03-15 BC'::date AS day", "(driver cannot read|date too small)"),
    ],
)
def test_a_wrong_query(workspace: Workspace, things: str, query: str, message: str) -> None:
    with pytest.raises(InvalidSpecError, match=rf"(?s)source\.query=.*{message}"):
        extract(workspace, query)


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_wrong_connection(cluster: Cluster, tmp_path: Path, task: TaskIdentity, driver: str, free_port: int) -> None:
    def refused(url: str) -> str:
        with pytest.raises((InvalidSpecError, BackendUnavailableError)) as caught:
            extract(workspace_of(tmp_path, task, url), "SELECT 1 AS a")
        assert "hush" not in str(caught.value)
        assert isinstance(caught.value, BackendUnavailableError) == (str(free_port) in url)
        return str(caught.value)

    assert "rejects the login. Correct the user and the password" in refused(cluster.url(driver, password="hush"))
    assert 'database "nowhere" does not exist' in refused(cluster.url(driver, database="nowhere"))
    away = cluster.url(driver, password="hush").replace(str(cluster.port), str(free_port))
    assert "refused" in refused(away)


@pytest.mark.parametrize("mode", ["immediate", "fast"])
@pytest.mark.parametrize("driver", DRIVERS)
def test_a_server_that_goes_away_while_it_is_read(
    tmp_path: Path, task: TaskIdentity, cluster: Cluster, driver: str, mode: str
) -> None:
    workspace = workspace_of(tmp_path, task, cluster.url(driver))
    source = SqlSource(query="SELECT i AS id FROM generate_series(1, 1000000) AS i", connection="shop")
    batches = read_sql(source, workspace, None, 1000, {})
    assert next(batches).num_rows == 1000
    cluster.stop(mode)
    try:
        with pytest.raises(BackendUnavailableError, match=rf"(?s){cluster.port}.*Check the connection"):
            for _ in batches:
                pass
    finally:
        cluster.start()
    assert extract(workspace, "SELECT 1 AS a").rows == 1


# -- connections of Airflow ------------------------------------------------------------------------


@pytest.mark.parametrize("written", ["fields", "uri"])
def test_an_airflow_connection(
    cluster: Cluster, tmp_path: Path, task: TaskIdentity, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    pytest.importorskip("airflow.providers.postgres", reason="pip install apache-airflow-providers-postgres")
    from airflow_provider_mlops.hooks.database import sqlalchemy_url

    fields = {"conn_type": "postgres", "host": "127.0.0.1", "port": cluster.port, "login": "ada", "password": PASSWORD}
    uri = cluster.url("postgres")
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", uri if written == "uri" else json.dumps({**fields, "schema": "shop"}))
    workspace = workspace_of(tmp_path, task, sqlalchemy_url("shop"))
    assert rows(extract(workspace, "SELECT current_user AS who")) == [{"who": "ada"}]


def test_a_driver_that_is_there_stands_in_for_one_that_is_not(
    cluster: Cluster, tmp_path: Path, task: TaskIdentity
) -> None:
    """As in a step's interpreter that has one of the two while Airflow's worker has the other."""
    import importlib.util

    real = importlib.util.find_spec
    for missing, url in (("psycopg2", cluster.url("postgresql+psycopg2")), ("psycopg", cluster.url("postgresql"))):
        with mock.patch(
            "importlib.util.find_spec", lambda name, missing=missing: None if name == missing else real(name)
        ):
            assert rows(extract(workspace_of(tmp_path, task, url), "SELECT 1 AS a")) == [{"a": 1}]
