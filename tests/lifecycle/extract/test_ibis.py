"""Extract an Ibis expression: from a new DuckDB, by URL, by connection, and from tables that it creates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas
import pytest

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.workspace import Workspace
from tests.helpers.extraction import column, extract, squares


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


@pytest.mark.parametrize("call", ["sql", "create_table"])
def test_calls_that_fail_with_this_ibis_and_duckdb_are_explained(workspace: Workspace, call: str) -> None:
    """Ibis 12 fails internally with DuckDB 2; with compatible versions both calls work."""
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
    with pytest.raises(
        InvalidSpecError, match=r"source\.expression=.*do not work with the installed versions.*raw_sql"
    ):
        extract(workspace, source)


def test_tables_that_are_created_with_sql(workspace: Workspace) -> None:
    def rows(connection: Any) -> Any:
        connection.raw_sql("CREATE TABLE numbers AS SELECT 1 AS a")
        return connection.table("numbers")

    assert column(extract(workspace, {"kind": "ibis", "expression": rows}), "a") == [1]
