"""Reading a database that Airflow knows by a connection, in the task and under an interpreter without Airflow."""

from __future__ import annotations

import json
import os
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.operators.extract import ExtractDataOperator
from airflow_provider_mlops.runtimes.python import PythonRuntime

STEP_PYTHON = os.environ.get("MLOPS_STEP_PYTHON") or str(Path(__file__).parents[2] / ".venv-step/bin/python")


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database behind the connection `shop`."""
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as database:
        database.execute("create table customers (id int, country text)")
        database.executemany("insert into customers values (?, ?)", [(1, "de"), (2, "fr"), (3, "de")])
    document = {"conn_type": "sqlite", "host": str(path), "password": "hush-hush-5"}
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", json.dumps(document))


def dag(name: str, **options: Any) -> DAG:
    return DAG(dag_id=name, schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), **options)


def source(**changes: Any) -> dict[str, Any]:
    return {"kind": "sql", "query": "select id from customers where country = '{{ params.country }}'", **changes}


RUNTIMES = [
    pytest.param(None, id="task"),
    pytest.param(
        PythonRuntime("{{ params.python }}"),
        id="python",
        marks=pytest.mark.skipif(not os.access(STEP_PYTHON, os.X_OK), reason=f"no interpreter at {STEP_PYTHON}"),
    ),
]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_query_over_an_airflow_connection(run_dag, shop, runtime):
    params = {"country": "de", "python": STEP_PYTHON, "connection": "shop"}
    with dag(f"shop_{'task' if runtime is None else 'python'}", params=params) as built:
        ExtractDataOperator(
            task_id="extract",
            dataset_name="customers",
            source=source(connection="{{ params.connection }}"),
            runtime=runtime,
        )
    ran = run_dag(built)
    assert ran.state == "success"
    xcoms = ran.xcoms("extract")
    assert xcoms["rows"] == 2
    assert Dataset.model_validate(xcoms["dataset"]).arrow().column("id").to_pylist() == [1, 3]
    rendered = ran.rendered("extract")
    assert "country = 'de'" in str(rendered["source"])
    assert STEP_PYTHON in str(rendered["runtime"]) or runtime is None
    assert "hush" not in json.dumps([xcoms, rendered], default=str)
    ((uri, extra),) = ran.asset_events()
    assert (uri, extra["rows"], extra["source"]) == ("mlops://datasets/customers", 2, "sql")


def test_the_query_may_lie_in_a_file_beside_the_dag(run_dag, shop, tmp_path):
    (tmp_path / "customers.sql").write_text("select id from customers where country = '{{ params.country }}'")
    with dag("shop_file", params={"country": "fr"}, template_searchpath=[str(tmp_path)]) as built:
        ExtractDataOperator(
            task_id="extract", dataset_name="customers", source=source(query="customers.sql", connection="shop")
        )
    assert run_dag(built).xcoms("extract")["rows"] == 1


def test_a_connection_that_does_not_exist_is_not_retried(run_dag):
    with dag("shop_nowhere", params={"country": "de"}) as built:
        ExtractDataOperator(
            task_id="extract",
            dataset_name="customers",
            source=source(connection="nowhere"),
            retries=2,
            retry_delay=timedelta(0),
        )
    ran = run_dag(built)
    assert (ran.state, ran.task("extract").try_number) == ("failed", 1)
