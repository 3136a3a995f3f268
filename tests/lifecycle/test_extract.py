"""Extract: five sources, two kinds of increment, gates, and every wrong input with its error."""

from __future__ import annotations

import gzip
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas
import pyarrow
import pyarrow.parquet
import pytest

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.data.lineage import TaskIdentity
from airflow_provider_mlops.errors import BackendAwayError, InvalidSpecError, RejectedError
from airflow_provider_mlops.lifecycle.extract import STEP, ExtractResult
from airflow_provider_mlops.lifecycle.extract_sql_types import to_arrow
from airflow_provider_mlops.lifecycle.workspace import Workspace

SQL = {"kind": "sql", "query": "SELECT * FROM visits", "connection": "warehouse"}


@pytest.fixture
def workspace(tmp_path: Path, task: TaskIdentity) -> Workspace:
    """A workspace without MLflow, which extract does not need."""
    secrets = {"connection_warehouse": f"sqlite:///{tmp_path / 'warehouse.db'}"}
    return Workspace.model_validate({"storage_uri": str(tmp_path / "mlops"), "task": task, "secrets": secrets})


@pytest.fixture
def database(tmp_path: Path) -> sqlite3.Connection:
    """A hundred visits, one a day; `late` has its first value in row 60, and `price` turns fractional in row 80."""
    connection = sqlite3.connect(tmp_path / "warehouse.db")
    connection.execute("CREATE TABLE visits (id INTEGER, day TEXT, late, price, name TEXT)")
    day = datetime(2026, 1, 1)
    rows = [
        (
            i,
            (day + timedelta(days=i)).isoformat(sep=" "),
            None if i < 60 else "late",
            i + 0.5 if i >= 80 else i,
            f"n{i % 3}",
        )
        for i in range(100)
    ]
    connection.executemany("INSERT INTO visits VALUES (?, ?, ?, ?, ?)", rows)
    connection.commit()
    return connection


def extract(workspace: Workspace, source: dict[str, Any], **fields: Any) -> ExtractResult:
    return STEP.run(STEP.parse({"dataset_name": "visits", "source": source, **fields}), workspace)


def source_of(frame: pandas.DataFrame) -> dict[str, Any]:
    def rows() -> pandas.DataFrame:
        return frame

    return {"kind": "code", "function": rows}


def in_run(workspace: Workspace, run_id: str, **task: Any) -> Workspace:
    return workspace.model_copy(update={"task": workspace.task.model_copy(update={"run_id": run_id, **task})})


def column(result: ExtractResult, name: str) -> list[Any]:
    return result.dataset.arrow()[name].to_pylist()


# -- sources ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_rows", [7, 1000])
def test_sql_is_streamed_with_one_schema(workspace: Workspace, database: sqlite3.Connection, batch_rows: int) -> None:
    result = extract(workspace, SQL, batch_rows=batch_rows)
    arrow = result.dataset.arrow()
    assert [str(kind) for kind in arrow.schema.types] == ["int64", "string", "string", "double", "string"]
    assert arrow["late"].to_pylist() == [None] * 60 + ["late"] * 40
    assert arrow["price"].to_pylist() == [float(i) if i < 80 else i + 0.5 for i in range(100)]
    assert result.rows == result.dataset.rows == 100
    manifest = result.dataset.manifest
    assert manifest.source == {**SQL, "parameters": {}}
    assert manifest.created_by == workspace.task


def test_the_same_rows_have_the_same_fingerprint_however_they_come(
    workspace: Workspace, database: sqlite3.Connection
) -> None:
    backwards = {**SQL, "query": "SELECT * FROM visits ORDER BY id DESC"}
    one = extract(workspace, SQL, batch_rows=7)
    other = extract(workspace, backwards, batch_rows=13)
    assert one.fingerprint == other.fingerprint
    database.execute("UPDATE visits SET name = 'other' WHERE id = 50")
    database.commit()
    assert extract(workspace, SQL).fingerprint != one.fingerprint


def test_sql_takes_parameters_and_a_semicolon(workspace: Workspace, database: sqlite3.Connection) -> None:
    source = {**SQL, "query": "SELECT id FROM visits WHERE name = :name AND id < :limit;"}
    result = extract(workspace, {**source, "parameters": {"name": "n1", "limit": 10}})
    assert column(result, "id") == [1, 4, 7]


def test_sql_values_of_any_kind_become_arrow() -> None:
    import uuid
    from decimal import Decimal

    one = uuid.UUID(int=1)
    names = ["a", "b", "c", "d", "e", "f", "g"]
    rows = [
        (1, Decimal("1.5"), one, {"k": 1}, b"x", None, 2**70),
        (2.5, None, None, None, None, None, 1),
        ("x", Decimal("2"), one, [1], memoryview(b"y"), None, None),
    ]
    table = to_arrow(names, rows, [None, "float64", "string", None, None, None, None])
    assert table["a"].to_pylist() == ["1", "2.5", "x"]
    assert table["b"].to_pylist() == [1.5, None, 2.0]
    assert table["c"].to_pylist() == [str(one), None, str(one)]
    assert table["d"].to_pylist() == ['{"k": 1}', None, "[1]"]
    assert str(table.schema.field("f").type) == "null"
    assert table["g"].to_pylist() == [float(2**70), 1.0, None]


FRAME = pandas.DataFrame({"a": [1, 2, 3], "b": ["x", "y", None], "t": pandas.to_datetime(["2026-01-01"] * 3)})


def write_files(directory: Path, kind: str) -> None:
    if kind == "csv":
        FRAME.to_csv(directory / "rows.csv", index=False)
    elif kind == "csv.gz":
        FRAME.to_csv(directory / "rows.csv.gz", index=False)
    elif kind == "tsv":
        FRAME.to_csv(directory / "rows.tsv", index=False, sep="\t")
    elif kind == "parquet":
        FRAME.to_parquet(directory / "rows.parquet")
    elif kind == "jsonl":
        FRAME.to_json(directory / "rows.jsonl", orient="records", lines=True, date_format="iso")


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "tsv", "parquet", "jsonl"])
def test_files_of_every_format(workspace: Workspace, tmp_path: Path, kind: str) -> None:
    write_files(tmp_path, kind)
    result = extract(workspace, {"kind": "files", "paths": str(tmp_path / f"rows.{kind}")})
    assert column(result, "a") == [1, 2, 3]
    assert column(result, "b") == ["x", "y", None]
    assert [str(moment)[:10] for moment in column(result, "t")] == ["2026-01-01"] * 3


def test_many_files_by_pattern_list_directory_and_scheme(workspace: Workspace, tmp_path: Path) -> None:
    for index in range(3):
        pyarrow.parquet.write_table(pyarrow.table({"a": [index]}), tmp_path / f"part-{index}.parquet")
    for paths in (
        str(tmp_path / "part-*.parquet"),
        str(tmp_path),
        tuple(f"file://{tmp_path}/part-{index}.parquet" for index in range(3)),
    ):
        assert column(extract(workspace, {"kind": "files", "paths": paths}), "a") == [0, 1, 2]
    import fsspec

    with fsspec.open("memory://extract/rows.csv", "w") as file:
        file.write("a\n5\n")
    assert column(extract(workspace, {"kind": "files", "paths": "memory://extract/rows.csv"}), "a") == [5]


def test_a_csv_column_that_turns_out_to_be_text_keeps_its_zeros(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "codes.csv"
    # The text comes past the block that the types are first guessed from.
    lines = [f"{index:07d},,{index}" for index in range(900_000)]
    path.write_text("code,late,n\n" + "\n".join([*lines, "00A,7,0.5"]) + "\n")
    result = extract(workspace, {"kind": "files", "paths": str(path)})
    arrow = result.dataset.arrow()
    assert arrow["code"][7].as_py() == "0000007"
    assert arrow["code"][900_000].as_py() == "00A"
    assert arrow["late"].null_count == 900_000
    assert (arrow["n"][900_000].as_py(), str(arrow["n"].type)) == (0.5, "double")


def test_csv_files_agree_on_text(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("code\n007\n")
    (tmp_path / "2.csv").write_text("code\n00A\n")
    assert column(extract(workspace, {"kind": "files", "paths": str(tmp_path / "*.csv")}), "code") == ["007", "00A"]


def test_csv_files_in_another_encoding(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_bytes("name\nJosé\n".encode("latin-1"))
    source = {"kind": "files", "paths": str(tmp_path / "1.csv"), "encoding": "latin-1"}
    assert column(extract(workspace, source), "name") == ["José"]


def test_json_lines_may_leave_fields_out(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "1.jsonl").write_text('{"a": 1}\n\n{"a": 2.5, "b": "x"}\n')
    (tmp_path / "2.ndjson").write_text('{"c": [1]}\n')
    result = extract(workspace, {"kind": "files", "paths": str(tmp_path)})
    assert result.dataset.arrow().to_pylist() == [
        {"a": 1.0, "b": None, "c": None},
        {"a": 2.5, "b": "x", "c": None},
        {"a": None, "b": None, "c": [1]},
    ]


def squares(connection: Any) -> Any:
    import ibis

    numbers = ibis.range(1000).unnest().name("n").as_table()
    return numbers.mutate(square=numbers.n * numbers.n)


def test_an_ibis_expression(workspace: Workspace) -> None:
    result = extract(workspace, {"kind": "ibis", "expression": squares}, batch_rows=100)
    assert sorted(column(result, "square")) == [n * n for n in range(1000)]


def test_an_ibis_backend_by_url_and_by_connection(workspace: Workspace, tmp_path: Path) -> None:
    import duckdb

    path = tmp_path / "warehouse.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE numbers AS SELECT 42 AS n")

    def numbers(connection: Any) -> Any:
        return connection.table("numbers")

    assert column(extract(workspace, {"kind": "ibis", "expression": numbers, "backend": f"duckdb://{path}"}), "n") == [
        42
    ]
    named = Workspace.model_validate({**workspace.model_dump(), "secrets": {"connection_lake": f"duckdb://{path}"}})
    assert column(extract(named, {"kind": "ibis", "expression": numbers, "connection": "lake"}), "n") == [42]


def test_a_bundled_data_set(workspace: Workspace) -> None:
    result = extract(workspace, {"kind": "sklearn", "name": "iris"})
    assert result.rows == 150
    assert "target" in result.dataset.arrow().column_names


def a_frame() -> pandas.DataFrame:
    return FRAME.astype({"b": "category"}).set_index(pandas.Index([9, 8, 7]))


def mixed_frame() -> pandas.DataFrame:
    return pandas.DataFrame({"a": [1, "x", None], 5: [1, 2, 3]})


def batches(watermark: Any = None) -> Iterator[Any]:
    assert watermark is None
    yield pyarrow.table({"a": pyarrow.nulls(2)})
    yield pandas.DataFrame({"a": [1, 2]})
    yield pyarrow.RecordBatch.from_pydict({"a": [2.5]})


@pytest.mark.parametrize(
    ("function", "name", "values"),
    [
        (a_frame, "b", ["x", "y", None]),
        (mixed_frame, "a", ["1", "x", None]),
        (mixed_frame, "5", [1, 2, 3]),
        (batches, "a", [None, None, 1.0, 2.0, 2.5]),
    ],
)
def test_rows_of_user_code(workspace: Workspace, function: Any, name: str, values: list[Any]) -> None:
    result = extract(workspace, {"kind": "code", "function": function})
    assert column(result, name) == values
    assert "__index_level_0__" not in result.dataset.arrow().column_names


# -- increments ------------------------------------------------------------------------------------

JANUARY_3_TO_5 = {
    "interval_start": datetime(2026, 1, 3, tzinfo=UTC),
    "interval_end": datetime(2026, 1, 5, tzinfo=UTC),
}
WRITTEN = {
    "space": lambda moment: moment.strftime("%Y-%m-%d %H:%M:%S"),
    "iso": lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
    "date": lambda moment: moment.strftime("%Y-%m-%d"),
    "seconds": lambda moment: int(moment.timestamp()),
    "milliseconds": lambda moment: int(moment.timestamp() * 1000),
}


@pytest.mark.parametrize("written", list(WRITTEN))
@pytest.mark.parametrize("kind", ["sql", "code"])
def test_the_rows_of_the_interval_however_times_are_written(
    workspace: Workspace, tmp_path: Path, kind: str, written: str
) -> None:
    moments = [datetime(2026, 1, day, tzinfo=UTC) for day in range(1, 8)]
    values = [WRITTEN[written](moment) for moment in moments]
    if kind == "sql":
        connection = sqlite3.connect(tmp_path / "warehouse.db")
        connection.execute("CREATE TABLE visits (day, n)")
        connection.executemany("INSERT INTO visits VALUES (?, ?)", list(zip(values, range(1, 8), strict=True)))
        connection.commit()
        source: dict[str, Any] = SQL
    else:
        source = source_of(pandas.DataFrame({"day": values, "n": range(1, 8)}))
    result = extract(
        in_run(workspace, "r", **JANUARY_3_TO_5), source, incremental={"kind": "interval", "column": "day"}
    )
    assert column(result, "n") == [3, 4]
    assert result.dataset.manifest.interval == tuple(JANUARY_3_TO_5.values())


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Brussels"])
def test_the_rows_of_the_interval_in_typed_times(workspace: Workspace, zone: str | None) -> None:
    moments = pandas.date_range("2026-01-01", periods=7, tz="UTC")
    days = moments.tz_localize(None) if zone is None else moments.tz_convert(zone)
    source = source_of(pandas.DataFrame({"day": days, "n": range(1, 8)}))
    result = extract(
        in_run(workspace, "r", **JANUARY_3_TO_5), source, incremental={"kind": "interval", "column": "day"}
    )
    assert column(result, "n") == [3, 4]


def test_a_query_may_place_the_interval_itself(workspace: Workspace, database: sqlite3.Connection) -> None:
    query = "SELECT id FROM visits WHERE day >= :interval_start AND day < :interval_end"
    result = extract(in_run(workspace, "r", **JANUARY_3_TO_5), {**SQL, "query": query})
    assert column(result, "id") == [2, 3]


WATERMARK = {"kind": "watermark", "column": "id"}


def test_a_watermark_takes_what_is_new_and_a_retry_takes_it_again(
    workspace: Workspace, database: sqlite3.Connection
) -> None:
    def add(*ids: int) -> None:
        database.executemany("INSERT INTO visits (id) VALUES (?)", [(one,) for one in ids])
        database.commit()

    first = extract(in_run(workspace, "1"), SQL, incremental=WATERMARK)
    assert (first.rows, first.watermark) == (100, 99)
    add(100, 101)
    second = extract(in_run(workspace, "2"), SQL, incremental=WATERMARK)
    assert (column(second, "id"), second.watermark) == ([100, 101], 101)
    # The task died after the watermark had moved: its retry must not find that there is nothing left.
    again = extract(in_run(workspace, "2", try_number=2), SQL, incremental=WATERMARK)
    assert again == second
    add(102)
    third = extract(in_run(workspace, "3"), SQL, incremental=WATERMARK)
    assert column(third, "id") == [102]
    # An older run that is cleared extracts what it did before, and the watermark stays where it is.
    assert column(extract(in_run(workspace, "2"), SQL, incremental=WATERMARK), "id") == [100, 101]
    add(103)
    assert column(extract(in_run(workspace, "4"), SQL, incremental=WATERMARK), "id") == [103]
    nothing = extract(in_run(workspace, "5"), SQL, incremental=WATERMARK, minimum_rows=0)
    assert (nothing.rows, nothing.watermark) == (0, 103)


def test_a_watermark_moves_only_with_the_dataset(workspace: Workspace, database: sqlite3.Connection) -> None:
    with pytest.raises(RejectedError):
        extract(in_run(workspace, "1"), SQL, incremental=WATERMARK, minimum_rows=1000)
    assert extract(in_run(workspace, "2"), SQL, incremental=WATERMARK).rows == 100


def test_a_watermark_of_times_and_where_it_begins(workspace: Workspace) -> None:
    moments = pandas.date_range("2026-01-01", periods=5, tz="UTC")
    source = source_of(pandas.DataFrame({"at": moments}))
    increment = {"kind": "watermark", "column": "at", "initial": "2026-01-02T00:00:00+00:00"}
    first = extract(in_run(workspace, "1"), source, incremental=increment)
    assert (first.rows, first.watermark) == (3, "2026-01-05T00:00:00+00:00")
    assert extract(in_run(workspace, "2"), source, incremental=increment, minimum_rows=0).rows == 0


def test_mapped_tasks_have_watermarks_of_their_own(workspace: Workspace, database: sqlite3.Connection) -> None:
    for index in (0, 1):
        assert extract(in_run(workspace, "1", map_index=index), SQL, incremental=WATERMARK).rows == 100


# -- gates -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [{"minimum_rows": 101}, {"maximum_rows": 99}])
def test_too_few_and_too_many_rows_are_rejected(
    workspace: Workspace, database: sqlite3.Connection, fields: dict[str, int]
) -> None:
    with pytest.raises(RejectedError, match=next(iter(fields))):
        extract(workspace, SQL, batch_rows=10, **fields)
    with pytest.raises(InvalidSpecError):
        Dataset.at(workspace.uri("datasets", "visits"))


def test_old_data_are_rejected(workspace: Workspace) -> None:
    def rows(age: timedelta) -> dict[str, Any]:
        moment = datetime.now(UTC) - age
        return source_of(pandas.DataFrame({"at": [moment, moment - timedelta(days=9)]}))

    freshness = {"column": "at", "maximum_age": "P1D"}
    assert extract(workspace, rows(timedelta(hours=23)), freshness=freshness).rows == 2
    with pytest.raises(RejectedError, match=r"1 day, 1:0.*maximum_age=1 day"):
        extract(workspace, rows(timedelta(hours=25)), freshness=freshness)
    empty = source_of(pandas.DataFrame({"at": [None]}))
    with pytest.raises(RejectedError, match="age cannot be told"):
        extract(workspace, empty, freshness=freshness)


# -- bad input -------------------------------------------------------------------------------------


def bad_code() -> list[int]:
    return [1, 2]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({**SQL, "query": "SELECT * FROM nowhere"}, r"source\.query=.*no such table"),
        ({**SQL, "query": "SELEC * FROM visits"}, r"source\.query=.*syntax error"),
        ({**SQL, "query": "SELECT id, id FROM visits"}, r"source\.query=.*rename them with AS"),
        ({**SQL, "query": "SELECT :a"}, r"source\.query=.*parameter is missing"),
        ({**SQL, "parameters": {"a": 1}}, r"source\.parameters=\['a'\]"),
        ({**SQL, "connection": "nobody"}, r"source\.connection='nobody': there is no such Airflow connection"),
        ({"kind": "files", "paths": "/nowhere/rows.csv"}, r"source\.paths='/nowhere/rows\.csv': there is no such file"),
        ({"kind": "files", "paths": "/nowhere/*.csv"}, r"source\.paths=.*no file matches"),
        ({"kind": "files", "paths": "nosuch://rows.csv"}, r"source\.paths=.*nosuch"),
        ({"kind": "sklearn", "name": "titanic"}, r"source\.name='titanic': scikit-learn bundles breast_cancer, "),
        ({"kind": "code", "function": bad_code}, r"source\.function=.*not int"),
        ({"kind": "code", "function": "nowhere:rows"}, r"nowhere.*cannot be imported"),
        ({"kind": "ibis", "expression": bad_code}, r"source\.expression=.*not list"),
        ({"kind": "ibis", "expression": squares, "backend": "nosuch://x"}, r"source\.backend='nosuch://x'"),
        ({"kind": "ibis", "expression": squares, "connection": "nobody"}, r"source\.connection='nobody'"),
    ],
)
def test_a_wrong_source_is_named_with_the_way_out(
    workspace: Workspace, database: sqlite3.Connection, source: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidSpecError, match=message):
        extract(workspace, source)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.csv", b"", "the file is empty"),
        ("rows.csv", b"a,b\n1,2\n3\n", "cannot be read as csv"),
        ("rows.csv", b"a\n\xff\xfe\n", r"source\.encoding='utf-8'.*'a'"),
        ("rows.parquet", b"this is no Parquet", "cannot be read as parquet"),
        ("rows.jsonl", b'{"a": 1}\n{"a"\n', "cannot be read as jsonl"),
        ("rows.jsonl", b'{"a": 1}\n{"a": "x"}\n', "cannot be read as jsonl"),
        ("rows.txt", b"a\n1\n", r"source\.format=.*set csv, parquet or jsonl"),
        ("rows.csv.gz", gzip.compress(b"a\n1\n", mtime=0)[:-10], "cannot be read as csv"),
    ],
)
def test_a_broken_file_is_named(workspace: Workspace, tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidSpecError, match=message) as caught:
        extract(workspace, {"kind": "files", "paths": str(tmp_path / name)})
    assert not workspace.storage_uri or not Path(workspace.uri("datasets", "visits"), "manifest.json").exists()
    assert caught.value.field.startswith("source.")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"incremental": {"kind": "watermark", "column": "nr"}}, r"incremental\.column='nr'.*'day'"),
        ({"freshness": {"column": "nr", "maximum_age": "P1D"}}, r"freshness\.column='nr'.*'day'"),
        (
            {"freshness": {"column": "name", "maximum_age": "P1D"}},
            r"'name': its type is string: name a column of times",
        ),
        ({"incremental": {"kind": "interval", "column": "day"}}, "no data interval"),
    ],
)
def test_a_wrong_column_is_named(
    workspace: Workspace, database: sqlite3.Connection, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidSpecError, match=message):
        extract(workspace, SQL, **fields)


def test_a_wrong_interval_column_of_a_query_is_named(workspace: Workspace, database: sqlite3.Connection) -> None:
    with pytest.raises(InvalidSpecError, match="no such column"):
        extract(in_run(workspace, "r", **JANUARY_3_TO_5), SQL, incremental={"kind": "interval", "column": "nowhere"})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dataset_name": "a/b"}, "dataset_name"),
        ({"source": {"kind": "ftp"}}, "source"),
        ({"source": {"kind": "sql", "query": "  ;", "connection": "c"}}, "SELECT"),
        ({"minimum_rows": 5, "maximum_rows": 4}, "maximum_rows=4.* not be below minimum_rows"),
        ({"freshness": {"column": "a", "maximum_age": "-P1D"}}, "maximum_age"),
        ({"query": "SELECT 1"}, "no such field"),
    ],
)
def test_a_wrong_spec_is_named_before_anything_runs(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpecError, match=message):
        STEP.parse({"dataset_name": "visits", "source": SQL, **fields})


def test_a_source_without_rows_that_does_not_know_its_columns(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("a,b\n")
    with pytest.raises(RejectedError, match="gave no rows and does not say what its columns are"):
        extract(workspace, {"kind": "files", "paths": [str(tmp_path / "empty.csv")]}, minimum_rows=0)


def test_wrong_and_absent_databases_are_told_apart(workspace: Workspace, tmp_path: Path, free_port: int) -> None:
    def at(uri: str) -> Workspace:
        return Workspace.model_validate({**workspace.model_dump(), "secrets": {"connection_warehouse": uri}})

    with pytest.raises(InvalidSpecError, match="no database file"):
        extract(at(f"sqlite:///{tmp_path}/nowhere.db"), SQL)
    assert not (tmp_path / "nowhere.db").exists()
    with pytest.raises(InvalidSpecError, match="not one that SQLAlchemy reads"):
        extract(at("what is this"), SQL)
    with pytest.raises(InvalidSpecError, match="is not installed"):
        extract(at("nosuchdatabase://host/db"), SQL)
    (tmp_path / "a directory").mkdir()
    with pytest.raises(BackendAwayError, match="is away"):
        extract(at(f"sqlite:///{tmp_path}/a directory"), SQL)


def test_a_password_does_not_show_in_an_error(workspace: Workspace, free_port: int) -> None:
    uri = f"postgresql://ada:hunter2@127.0.0.1:{free_port}/db"
    away = Workspace.model_validate({**workspace.model_dump(), "secrets": {"connection_warehouse": uri}})
    with pytest.raises((BackendAwayError, InvalidSpecError)) as caught:
        extract(away, SQL)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("call", ["sql", "create_table"])
def test_what_ibis_cannot_do_with_this_duckdb_is_done_or_named(workspace: Workspace, call: str) -> None:
    """Ibis 12 fails inside itself with DuckDB 2; with versions that go together both calls work."""
    import duckdb
    import ibis

    def rows(connection: Any) -> Any:
        if call == "sql":
            return connection.sql("SELECT 1 AS a")
        return connection.create_table("numbers", pandas.DataFrame({"a": [1]}))

    source = {"kind": "ibis", "expression": rows}
    if int(duckdb.__version__.split(".")[0]) < 2 or int(ibis.__version__.split(".")[0]) > 12:
        assert column(extract(workspace, source), "a") == [1]
        return
    with pytest.raises(InvalidSpecError, match=r"source\.expression=.*do not go together.*raw_sql"):
        extract(workspace, source)


def test_tables_that_ibis_makes_by_sql(workspace: Workspace) -> None:
    def rows(connection: Any) -> Any:
        connection.raw_sql("CREATE TABLE numbers AS SELECT 1 AS a")
        return connection.table("numbers")

    assert column(extract(workspace, {"kind": "ibis", "expression": rows}), "a") == [1]


# -- killed in the middle ---------------------------------------------------------------------------

SLOW_ROWS = """
def rows():
    import time, pyarrow, pathlib
    for index in range(50):
        yield pyarrow.table({"a": list(range(index * 1000, index * 1000 + 1000))})
        pathlib.Path(MARK).write_text(str(index))
        if index == STOP:
            time.sleep(600)
"""


def test_a_step_killed_half_way_leaves_nothing_visible_and_its_retry_one_dataset(
    workspace: Workspace, tmp_path: Path
) -> None:
    def request(stop: int) -> list[str]:
        source = SLOW_ROWS.replace("MARK", repr(str(tmp_path / "mark"))).replace("STOP", str(stop))
        spec = {"dataset_name": "rows", "source": {"kind": "code", "function": {"source": source, "name": "rows"}}}
        path = tmp_path / "request.json"
        path.write_text(json.dumps({"step": "extract", "spec": spec, "workspace": workspace.model_dump(mode="json")}))
        module = "airflow_provider_mlops.lifecycle"
        return [sys.executable, "-m", module, str(path), str(tmp_path / "result.json")]

    uri = workspace.uri("datasets", "rows")
    with subprocess.Popen(request(20), stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while not ((tmp_path / "mark").exists() and (tmp_path / "mark").read_text() == "20"):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGKILL)
    with pytest.raises(InvalidSpecError, match="has not finished"):
        Dataset.at(uri)
    assert not (tmp_path / "result.json").exists()
    subprocess.run(request(-1), check=True, stdout=subprocess.DEVNULL)
    dataset = Dataset.at(uri)
    assert dataset.arrow()["a"].to_pylist() == list(range(50_000))
    assert len(list(Path(workspace.storage_uri).rglob("manifest.json"))) == 1
