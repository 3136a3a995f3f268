"""The tutorial's DAGs, run as they are on the page: a model is deployed, and the next one is released by a canary."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("airflow.sdk", reason="the tutorial needs Airflow")

from airflow_provider_mlops.data.samples.customers import CustomersSample
from airflow_provider_mlops.operators.rollout import RolloutOperator
from tests.dags.test_example_dags import load
from tests.helpers.serving.live_gateway import LiveGateway

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def customers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rows, _ = CustomersSample(3000).write(tmp_path)
    monkeypatch.setenv("AIRFLOW_VAR_CUSTOMERS", str(rows))
    return rows


@pytest.fixture
def traffic(customers: Path, gateway: LiveGateway) -> Iterator[Callable[[], None]]:
    """A function that starts the traffic of the page, until the test ends."""
    running: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        (line,) = re.findall(r"\$ airflow-mlops (traffic .*?)\n```", page("learn/tutorial.md"), re.DOTALL)
        arguments = line.replace("\\\n", " ").replace("customers.parquet", str(customers)).split()
        command = [sys.executable, "-m", "airflow_provider_mlops.cli", *arguments, "--gateway", gateway.url]
        running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))

    yield start
    for process in running:
        process.terminate()
        process.wait(30)


def page(name: str) -> str:
    return (DOCS / name).read_text()


def dag_of(text: str, dag_id: str, directory: Path) -> Any:
    """The DAG of that id in the code blocks of a page, read from a file as Airflow does."""
    blocks = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if f'DAG("{dag_id}"' in block]
    file = directory / f"{dag_id}.py"
    file.write_text(blocks[0])
    return load(file)[dag_id]


def test_the_tutorial_leads_to_a_canary(
    run_dag: Callable[..., Any], gateway: LiveGateway, traffic: Callable[[], None], tmp_path: Path
) -> None:
    first = run_dag(dag_of(page("learn/tutorial.md"), "churn", tmp_path))
    assert first.state == "success"
    monitor = dag_of(page("learn/tutorial.md"), "churn_monitor", tmp_path)
    assert run_dag(monitor).xcoms("monitor")["verdict"] == "inconclusive"
    traffic()
    challenger = dag_of(page("learn/tutorial.md"), "churn_challenger", tmp_path)
    for task in challenger.tasks:
        if isinstance(task, RolloutOperator):
            task.check_interval, task.bake_time, task.min_requests = 0.3, 0, 30
    second = run_dag(challenger)
    assert second.state == "success"
    assert second.xcoms("rollout")["status"] == "promoted"
    with gateway.client() as client:
        (served,) = client.models()
    assert served["active"] == 2
    assert run_dag(monitor).xcoms("monitor")["model_version"] == 2


def test_the_example_of_the_home_page_runs(run_dag: Callable[..., Any], gateway: LiveGateway, tmp_path: Path) -> None:
    ran = run_dag(dag_of(page("index.md"), "churn", tmp_path))
    assert ran.state == "success"
    assert ran.xcoms("train")["model"]["version"] == 1
