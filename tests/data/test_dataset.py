"""Datasets are complete or absent, and what is read is what was written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.data.dataset_writer import DatasetWriter
from airflow_provider_mlops.errors import InvalidSpecError

COLUMNS = {
    "whole": (pyarrow.int64(), st.integers(-(2**63), 2**63 - 1)),
    "fraction": (pyarrow.float64(), st.floats(allow_nan=False)),
    "text": (pyarrow.string(), st.text(max_size=20)),
    "truth": (pyarrow.bool_(), st.booleans()),
    "time": (pyarrow.timestamp("us"), st.datetimes()),
    "day": (pyarrow.date32(), st.dates()),
    "bytes": (pyarrow.binary(), st.binary(max_size=10)),
    "list": (pyarrow.list_(pyarrow.int64()), st.lists(st.integers(0, 9), max_size=3)),
}
SCHEMA = pyarrow.schema({name: kind for name, (kind, _) in COLUMNS.items()})
rows = st.lists(st.fixed_dictionaries({name: st.none() | values for name, (_, values) in COLUMNS.items()}), max_size=30)


def write(uri: str, *tables: pyarrow.Table, widen: bool = False) -> Dataset:
    with DatasetWriter(uri, "rows", widen=widen) as writer:
        for table in tables:
            writer.write(table)
        return writer.commit()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=rows, cut=st.integers(0, 30))
def test_what_is_read_is_what_was_written(tmp_path: Path, rows: list[dict[str, object]], cut: int) -> None:
    table = pyarrow.Table.from_pylist(rows, schema=SCHEMA)
    dataset = write(str(tmp_path / "rows"), table.slice(0, cut), table.slice(cut))
    assert dataset.arrow() == table
    assert dataset.rows == len(rows)
    assert Dataset.at(dataset.uri) == dataset
    engine_rows = dataset.table().select("whole", "text").to_pyarrow().to_pylist()
    assert sorted(map(repr, engine_rows)) == sorted(repr({k: row[k] for k in ("whole", "text")}) for row in rows)


def test_batches_must_have_one_schema_unless_the_writer_widens(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpecError, match="schema of the first batch"):
        write(str(tmp_path / "a"), pyarrow.table({"a": [1]}), pyarrow.table({"a": ["x"]}))
    assert storage.names(str(tmp_path / "a")) == []


@pytest.mark.parametrize(
    ("first", "then", "together"),
    [
        ([None, None], [1, 2], "int64"),
        ([None], ["x"], "string"),
        ([1, 2], [2.5, None], "double"),
        ([2.5], [3], "double"),
        ([1], ["x"], "string"),
        ([True], [None], "bool"),
    ],
)
def test_a_column_widens_to_hold_all_batches(tmp_path: Path, first: list, then: list, together: str) -> None:
    batches = [pyarrow.table({"a": pyarrow.array(values), "b": [0] * len(values)}) for values in (first, then, first)]
    dataset = write(str(tmp_path / "rows"), *batches, widen=True)
    expected = [
        str(value) if together == "string" and value is not None else value for value in [*first, *then, *first]
    ]
    assert dataset.arrow()["a"].to_pylist() == expected
    assert dataset.manifest.columns[0].type == together
    # The batches in which it came do not show in the fingerprint.
    once = write(str(tmp_path / "once"), pyarrow.table({"a": pyarrow.array(expected), "b": [0] * len(expected)}))
    assert once.fingerprint == dataset.fingerprint


def test_columns_that_come_late_are_empty_before(tmp_path: Path) -> None:
    dataset = write(
        str(tmp_path / "rows"), pyarrow.table({"a": [1]}), pyarrow.table({"b": ["x"], "a": [2]}), widen=True
    )
    assert dataset.arrow().to_pylist() == [{"a": 1, "b": None}, {"a": 2, "b": "x"}]


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    table = pyarrow.table([[1], [2]], names=["a", "a"])
    with pytest.raises(InvalidSpecError, match="unique"):
        write(str(tmp_path / "rows"), table)


def test_without_a_commit_nothing_is_visible(tmp_path: Path) -> None:
    uri = str(tmp_path / "rows")
    with DatasetWriter(uri, "rows") as writer:
        writer.write(pyarrow.table({"a": [1]}))
    assert storage.names(uri) == []
    with pytest.raises(InvalidSpecError, match="no manifest"):
        Dataset.at(uri)


def test_an_error_while_writing_over_a_dataset_keeps_the_old_one(tmp_path: Path) -> None:
    uri = str(tmp_path / "rows")
    old = write(uri, pyarrow.table({"a": [1]}))
    with pytest.raises(InvalidSpecError):
        write(uri, pyarrow.table({"a": [2]}), pyarrow.table({"a": ["x"]}))
    assert old.arrow()["a"].to_pylist() == [1]


def test_writing_over_a_dataset_replaces_it_and_its_files(tmp_path: Path) -> None:
    uri = str(tmp_path / "rows")
    old = write(uri, pyarrow.table({"a": [1]}))
    new = write(uri, pyarrow.table({"a": [2]}))
    assert len(storage.names(uri)) == 2
    assert new.arrow()["a"].to_pylist() == [2]
    with pytest.raises(InvalidSpecError, match="content changed"):
        old.files()


def test_a_commit_leaves_another_writer_at_work_alone(tmp_path: Path) -> None:
    uri = str(tmp_path / "rows")
    with DatasetWriter(uri, "rows") as slow:
        slow.write(pyarrow.table({"a": [1]}))
        write(uri, pyarrow.table({"a": [2]}))
        dataset = slow.commit()
    assert dataset.arrow()["a"].to_pylist() == [1]


def test_what_a_killed_writer_left_a_day_ago_is_swept(tmp_path: Path) -> None:
    uri = str(tmp_path / "rows")
    write(uri, pyarrow.table({"a": [1]}))
    old, young = tmp_path / "rows" / "part-dead-00000.parquet", tmp_path / "rows" / "part-live-00000.parquet"
    old.write_bytes(b"")
    young.write_bytes(b"")
    os.utime(old, (time.time() - 90_000, time.time() - 90_000))
    write(uri, pyarrow.table({"a": [2]}))
    assert not old.exists()
    assert young.exists()


def test_an_invalid_manifest_is_named(tmp_path: Path) -> None:
    dataset = write(str(tmp_path / "rows"), pyarrow.table({"a": [1]}))
    (tmp_path / "rows" / "manifest.json").write_text('{"name": "rows"}')
    with pytest.raises(InvalidSpecError, match="its manifest is not valid"):
        Dataset.at(dataset.uri)


def test_a_file_that_is_not_parquet_is_not_half_a_dataset(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("a\n1\n")
    with pytest.raises(InvalidSpecError, match=r"the file is not Parquet.* ExtractDataOperator"):
        Dataset.at(str(file))


@pytest.mark.parametrize("way", ["table", "arrow"])
def test_a_file_that_is_gone_or_cut_off_is_named(tmp_path: Path, way: str) -> None:
    dataset = write(str(tmp_path / "rows"), pyarrow.table({"a": [1, 2, 3]}))
    (file,) = (tmp_path / "rows").glob("*.parquet")
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(InvalidSpecError, match=rf"dataset='.*rows'.*{file.name} is not a complete Parquet"):
        getattr(dataset, way)()
    file.unlink()
    with pytest.raises(InvalidSpecError, match=rf"{file.name} is missing\. Run the task that writes"):
        getattr(dataset, way)()


def test_an_error_that_no_file_is_to_blame_for_stays_what_it_is(tmp_path: Path) -> None:
    dataset = write(str(tmp_path / "rows"), pyarrow.table({"a": [1, 2, 3]}))
    with pytest.raises(KeyError, match="b"):
        dataset.arrow(["b"])


def test_a_missing_dataset_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpecError, match="there is no dataset at this URI"):
        Dataset.at(str(tmp_path / "nowhere"))


WRITER = """
import sys, time, pyarrow
from airflow_provider_mlops.data.dataset_writer import DatasetWriter
with DatasetWriter(sys.argv[1], "rows", rows_per_file=1000) as writer:
    for index in range(10):
        writer.write(pyarrow.table({"a": list(range(index * 1000, index * 1000 + 1000))}))
        print("wrote", flush=True)
        if index == int(sys.argv[2]):
            time.sleep(600)
    print(writer.commit().fingerprint, flush=True)
"""


@pytest.mark.parametrize("killed_after", [0, 6])
def test_a_writer_killed_half_way_leaves_nothing_visible_and_a_retry_one_dataset(
    tmp_path: Path, killed_after: int
) -> None:
    uri = str(tmp_path / "rows")
    command = [sys.executable, "-c", WRITER, uri]
    with subprocess.Popen([*command, str(killed_after)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(killed_after + 1):
            assert process.stdout.readline() == "wrote\n"
        os.kill(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert any(name.endswith(".parquet") for name in storage.names(uri))
    with pytest.raises(InvalidSpecError, match="its writer has not finished"):
        Dataset.at(uri)
    done = subprocess.run([*command, "-1"], capture_output=True, text=True, check=True)
    dataset = Dataset.at(uri)
    assert dataset.fingerprint == done.stdout.split()[-1]
    assert dataset.arrow()["a"].to_pylist() == list(range(10_000))
    assert int(dataset.table().count().execute()) == 10_000
