"""Extract from files: every format, several files, columns whose type changes, and broken files."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.workspace import Workspace
from tests.helpers.extraction import FRAME, column, extract


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


def test_json_lines_may_omit_fields(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "1.jsonl").write_text('{"a": 1}\n\n{"a": 2.5, "b": "x"}\n')
    (tmp_path / "2.ndjson").write_text('{"c": [1]}\n')
    result = extract(workspace, {"kind": "files", "paths": str(tmp_path)})
    assert result.dataset.arrow().to_pylist() == [
        {"a": 1.0, "b": None, "c": None},
        {"a": 2.5, "b": "x", "c": None},
        {"a": None, "b": None, "c": [1]},
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.csv", b"", "the file is empty"),
        ("rows.csv", b"a,b\n1,2\n3\n", "cannot be read as csv"),
        ("rows.csv", b"a\n\xff\xfe\n", r"source\.encoding='utf-8'.*'a'"),
        ("rows.parquet", b"this is no Parquet", "cannot be read as parquet"),
        ("rows.jsonl", b'{"a": 1}\n{"a"\n', "cannot be read as jsonl"),
        ("rows.jsonl", b'{"a": 1}\n{"a": "x"}\n', "cannot be read as jsonl"),
        ("rows.txt", b"a\n1\n", r"source\.format=None: .*'csv', 'parquet' or 'jsonl'"),
        ("rows.csv.gz", gzip.compress(b"a\n1\n", mtime=0)[:-10], "cannot be read as csv"),
    ],
)
def test_a_broken_file_is_named(workspace: Workspace, tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidSpecError, match=message) as caught:
        extract(workspace, {"kind": "files", "paths": str(tmp_path / name)})
    assert not workspace.storage_uri or not Path(workspace.uri("datasets", "visits"), "manifest.json").exists()
    assert caught.value.field.startswith("source.")
