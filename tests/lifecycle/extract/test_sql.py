"""Extract from a database: streamed, with one schema; an unavailable database and a wrong one are distinguished."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from airflow_provider_mlops.errors import BackendUnavailableError, InvalidSpecError
from airflow_provider_mlops.lifecycle.extract.sql_types import to_arrow
from airflow_provider_mlops.lifecycle.workspace import Workspace
from tests.helpers.extraction import SQL, column, extract


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


def test_the_same_rows_have_the_same_fingerprint_in_any_order(
    workspace: Workspace, database: sqlite3.Connection
) -> None:
    backwards = {**SQL, "query": "SELECT * FROM visits ORDER BY id DESC"}
    forwards_result = extract(workspace, SQL, batch_rows=7)
    backwards_result = extract(workspace, backwards, batch_rows=13)
    assert forwards_result.fingerprint == backwards_result.fingerprint
    database.execute("UPDATE visits SET name = 'other' WHERE id = 50")
    database.commit()
    assert extract(workspace, SQL).fingerprint != forwards_result.fingerprint


def test_sql_takes_parameters_and_a_semicolon(workspace: Workspace, database: sqlite3.Connection) -> None:
    source = {**SQL, "query": "SELECT id FROM visits WHERE name = :name AND id < :limit;"}
    result = extract(workspace, {**source, "parameters": {"name": "n1", "limit": 10}})
    assert column(result, "id") == [1, 4, 7]


def test_sql_values_of_any_kind_become_arrow() -> None:
    import uuid
    from decimal import Decimal

    identifier = uuid.UUID(int=1)
    names = ["a", "b", "c", "d", "e", "f", "g"]
    rows = [
        (1, Decimal("1.5"), identifier, {"k": 1}, b"x", None, 2**70),
        (2.5, None, None, None, None, None, 1),
        ("x", Decimal("2"), identifier, [1], memoryview(b"y"), None, None),
    ]
    table = to_arrow(names, rows, [None, "float64", "string", None, None, None, None])
    assert table["a"].to_pylist() == ["1", "2.5", "x"]
    assert table["b"].to_pylist() == [1.5, None, 2.0]
    assert table["c"].to_pylist() == [str(identifier), None, str(identifier)]
    assert table["d"].to_pylist() == ['{"k": 1}', None, "[1]"]
    assert str(table.schema.field("f").type) == "null"
    assert table["g"].to_pylist() == [float(2**70), 1.0, None]


def test_wrong_and_unavailable_databases_are_distinguished(
    workspace: Workspace, tmp_path: Path, free_port: int
) -> None:
    def at(uri: str) -> Workspace:
        return Workspace.model_validate({**workspace.model_dump(), "secrets": {"connection_warehouse": uri}})

    with pytest.raises(InvalidSpecError, match=r"database file .* does not exist"):
        extract(at(f"sqlite:///{tmp_path}/nowhere.db"), SQL)
    assert not (tmp_path / "nowhere.db").exists()
    with pytest.raises(InvalidSpecError, match="SQLAlchemy can read"):
        extract(at("what is this"), SQL)
    with pytest.raises(InvalidSpecError, match="is not installed"):
        extract(at("nosuchdatabase://host/db"), SQL)
    (tmp_path / "a directory").mkdir()
    with pytest.raises(BackendUnavailableError, match="is unavailable"):
        extract(at(f"sqlite:///{tmp_path}/a directory"), SQL)


def test_a_password_does_not_show_in_an_error(workspace: Workspace, free_port: int) -> None:
    uri = f"postgresql://ada:hunter2@127.0.0.1:{free_port}/db"
    unavailable = Workspace.model_validate({**workspace.model_dump(), "secrets": {"connection_warehouse": uri}})
    with pytest.raises((BackendUnavailableError, InvalidSpecError)) as caught:
        extract(unavailable, SQL)
    assert "hunter2" not in str(caught.value)
