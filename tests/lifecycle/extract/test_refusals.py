"""Errors of extract: wrong sources, columns and fields, each with what to do."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.extract.step import STEP
from airflow_provider_mlops.lifecycle.workspace import Workspace
from tests.helpers.extraction import JANUARY_3_TO_5, SQL, extract, in_run, squares


def bad_code() -> list[int]:
    return [1, 2]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({**SQL, "query": "SELECT * FROM nowhere"}, r"source\.query=.*no such table"),
        ({**SQL, "query": "SELEC * FROM visits"}, r"source\.query=.*syntax error"),
        ({**SQL, "query": "SELECT id, id FROM visits"}, r"source\.query=.*Rename columns with AS"),
        ({**SQL, "query": "SELECT :a"}, r"source\.query=.*parameter is missing"),
        ({**SQL, "parameters": {"a": 1}}, r"source\.parameters=\['a'\]"),
        ({**SQL, "connection": "nobody"}, r"source\.connection='nobody': it must be an Airflow connection"),
        (
            {"kind": "files", "paths": "/nowhere/rows.csv"},
            r"source\.paths='/nowhere/rows\.csv': the file does not exist",
        ),
        ({"kind": "files", "paths": "/nowhere/*.csv"}, r"source\.paths=.*match the pattern"),
        ({"kind": "files", "paths": "nosuch://rows.csv"}, r"source\.paths=.*nosuch"),
        ({"kind": "sklearn", "name": "titanic"}, r"source\.name='titanic': .*'breast_cancer', "),
        ({"kind": "code", "function": bad_code}, r"source\.function=.*not int"),
        ({"kind": "code", "function": "nowhere:rows"}, r"nowhere.*cannot be imported"),
        ({"kind": "ibis", "expression": bad_code}, r"source\.expression=.*not list"),
        ({"kind": "ibis", "expression": squares, "backend": "nosuch://x"}, r"source\.backend='nosuch://x'"),
        ({"kind": "ibis", "expression": squares, "connection": "nobody"}, r"source\.connection='nobody'"),
    ],
)
def test_a_wrong_source_is_named_with_what_to_do(
    workspace: Workspace, database: sqlite3.Connection, source: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidSpecError, match=message):
        extract(workspace, source)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"incremental": {"kind": "watermark", "column": "nr"}}, r"incremental\.column='nr'.*'day'"),
        (
            {"freshness": {"column": "nr", "max_age": "P1D"}},
            r"freshness\.column='nr': it must be a column of the source\. .*'day'",
        ),
        (
            {"freshness": {"column": "name", "max_age": "P1D"}},
            r"'name': it must be a column of times .*string",
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
        ({"dataset_name": "a/b"}, "dataset_name='a/b': .*letters"),
        ({"source": {"kind": "ftp"}}, "source"),
        ({"source": {"kind": "sql", "query": "  ;", "connection": "c"}}, "SELECT"),
        ({"min_rows": 5, "max_rows": 4}, "max_rows=4: .*min_rows"),
        ({"freshness": {"column": "a", "max_age": "-P1D"}}, "max_age"),
        ({"query": "SELECT 1"}, "query='SELECT 1': it is not a field of ExtractSpec"),
    ],
)
def test_a_wrong_spec_is_named_before_anything_runs(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpecError, match=message):
        STEP.parse({"dataset_name": "visits", "source": SQL, **fields})
