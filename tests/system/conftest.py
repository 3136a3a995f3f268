"""A whole installation for the system tests: MLflow server, gateway and `airflow standalone`, once a session."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.airflow_api import AirflowApi
from demo.home import Home
from demo.stack import DAGS, Stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Everything up, with the example DAGs and those of this folder."""
    base = tmp_path_factory.mktemp("system")
    dags = base / "dags"
    shutil.copytree(DAGS, dags)
    shutil.copytree(Path(__file__).parent / "dags", dags / "system")
    home = Home(base / "home")
    stack = Stack(home, dags)
    # By default, Airflow misses a worker only after five minutes if the scheduler was killed as well.
    stack.add_settings({"AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "20"})
    try:
        for service, seconds in stack.start():
            service.wait(seconds)
        yield stack
    finally:
        stack.stop()
        home.release()


@pytest.fixture(scope="session")
def airflow(stack: Stack) -> AirflowApi:
    """Airflow's REST API."""
    return AirflowApi(stack.airflow_url)
