"""Looks at a rollout while MLflow is unavailable."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_mlops.data.task_identity import TaskIdentity
from airflow_provider_mlops.errors import BackendUnavailableError
from airflow_provider_mlops.lifecycle.rollout.look import look
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.serving.rollouts.store import RolloutStore
from tests.helpers.rollout_evidence import Traffic
from tests.helpers.rollouts import canary, task

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    identity = TaskIdentity(dag_id="churn", run_id="run-1", task_id="rollout", owner="ada")
    return Workspace(storage_uri=str(tmp_path), task=identity, tracking_uri=NOWHERE)


@pytest.fixture
def store(workspace: Workspace) -> Iterator[RolloutStore]:
    found = workspace.rollout_store()
    yield found
    found.close()


def test_what_is_worse_is_rolled_back_while_mlflow_is_away(
    workspace: Workspace, store: RolloutStore, tmp_path: Path
) -> None:
    terms = {"min_requests": 1, "bake_time": 0, "gates": [{"kind": "error_rate", "margin": 0.2}]}
    traffic = Traffic(tmp_path, store)
    for errors, expected in ((150, "rolled_back"), (0, "running")):
        rollout = store.start("churn", canary(**terms), task(run=expected))
        traffic.add(rollout, errors=errors)
        if expected == "rolled_back":
            assert look(workspace, store, rollout).state.status == expected
        else:
            # To go on, the champion must be known to be the same.
            with pytest.raises(BackendUnavailableError, match="MLflow at"):
                look(workspace, store, rollout)
        assert store.get(rollout.id).state.status == expected
