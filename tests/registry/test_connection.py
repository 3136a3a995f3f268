"""Runs and the connection to MLflow."""

from __future__ import annotations

import pytest

from airflow_provider_mlops.data.lineage import TaskIdentity
from airflow_provider_mlops.errors import BackendUnavailableError, InvalidSpecError
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.run import open_run


def test_a_run_holds_what_is_logged(workspace: Workspace) -> None:
    registry = workspace.registry()
    with open_run(registry, workspace.task, "analyze", tags={"colour": "blue"}) as run:
        run.log_params({"depth": 3})
        run.log_metrics({"accuracy": 0.9})
        run.log_text("hello", "notes/hello.txt")
    found = registry.client.get_run(run.id)
    assert found.info.status == "FINISHED"
    assert found.data.params == {"depth": "3"}
    assert found.data.metrics == {"accuracy": 0.9}
    assert found.data.tags["mlops.owner"] == "ada"
    assert found.data.tags["colour"] == "blue"
    assert registry.client.get_experiment(found.info.experiment_id).name == "churn"
    assert [file.path for file in registry.client.list_artifacts(run.id, "notes")] == ["notes/hello.txt"]


def _fail(registry: Registry, task: TaskIdentity) -> None:
    with open_run(registry, task, "train") as run:
        run.log_params({"depth": 3})
        raise ZeroDivisionError


def test_a_retry_continues_its_run_and_another_task_does_not(workspace: Workspace) -> None:
    registry = workspace.registry()
    for attempt in (1, 2):
        with pytest.raises(ZeroDivisionError):
            _fail(registry, workspace.task.model_copy(update={"try_number": attempt}))
    (found,) = registry.client.search_runs([registry.experiment("churn")])
    assert found.info.status == "FAILED"
    assert found.data.tags["mlops.try_number"] == "2"
    with open_run(registry, workspace.task.model_copy(update={"map_index": 1}), "train") as run:
        assert run.id != found.info.run_id
    with open_run(registry, workspace.task, "evaluate") as run:
        assert run.id != found.info.run_id
    with open_run(registry, workspace.task, "train") as run:
        assert run.id == found.info.run_id


def test_a_retry_with_other_parameters_leaves_one_run(workspace: Workspace) -> None:
    registry = workspace.registry()
    for depth in (3, 4):
        with open_run(registry, workspace.task, "train") as run:
            run.log_params({"depth": depth})
    found = registry.client.search_runs([run.experiment_id])
    assert [(one.info.run_id, one.data.params["depth"]) for one in found] == [(run.id, "4")]
    assert found[0].info.status == "FINISHED"


def test_a_child_run_is_nested_and_continued(workspace: Workspace) -> None:
    registry = workspace.registry()
    ids = set()
    for _ in range(2):
        with open_run(registry, workspace.task, "tune") as parent, parent.child("trial 0", "trial 0") as child:
            child.log_metrics({"loss": 1.0})
            ids.add(child.id)
    assert len(ids) == 1
    assert registry.client.get_run(child.id).data.tags["mlflow.parentRunId"] == parent.id


def test_a_server_that_is_not_there_is_away_within_seconds(tmp_path: object, task: TaskIdentity) -> None:
    import time

    start = time.monotonic()
    with pytest.raises(BackendUnavailableError, match=r"http://127\.0\.0\.1:9 is unavailable"):
        Registry("http://127.0.0.1:9", storage_uri=str(tmp_path)).client.search_experiments()
    with pytest.raises(BackendUnavailableError) as caught:
        Registry("postgresql://ada:secret@127.0.0.1:9/mlflow", storage_uri=str(tmp_path)).client.search_experiments()
    assert "secret" not in str(caught.value)
    assert time.monotonic() - start < 10


def test_the_embedded_default_needs_a_local_directory() -> None:
    with pytest.raises(InvalidSpecError, match="configure a connection"):
        Registry(None, storage_uri="s3://bucket/mlops")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tracking_uri": "htp://mlflow"}, "tracking_uri='htp://mlflow'"),
        ({"tracking_uri": None, "registry_uri": "htp://mlflow"}, "registry_uri='htp://mlflow'"),
    ],
)
def test_an_address_of_an_unknown_kind_is_named(tmp_path: object, fields: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidSpecError, match=f"{message}: MLflow knows no such kind of address"):
        _ = Registry(storage_uri=str(tmp_path), **fields).client


def test_an_experiment_is_marked_as_one_of_model_training(workspace: Workspace) -> None:
    registry = workspace.registry()
    tags = registry.client.get_experiment(registry.experiment("churn")).tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"


def test_a_deleted_experiment_is_named(workspace: Workspace) -> None:
    registry = workspace.registry()
    registry.client.delete_experiment(registry.experiment("churn"))
    with pytest.raises(InvalidSpecError, match="experiment='churn'"):
        registry.experiment("churn")


def test_a_server_that_takes_connections_and_says_nothing_is_away(tmp_path: object) -> None:
    import socket
    import time

    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        start = time.monotonic()
        with pytest.raises(BackendUnavailableError, match="it does not answer"):
            Registry(address, storage_uri=str(tmp_path)).client.search_experiments()
    assert time.monotonic() - start < 30


def test_credentials_are_in_the_environment_for_the_time_of_a_call_only(monkeypatch: pytest.MonkeyPatch) -> None:
    import os
    import threading

    from airflow_provider_mlops.registry.environment import lend

    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "outer")
    seen: list[tuple[str | None, str | None]] = []

    def use(name: str) -> None:
        for _ in range(200):
            with lend({"MLFLOW_TRACKING_USERNAME": name, "MLFLOW_TRACKING_TOKEN": None}):
                before = os.environ.get("MLFLOW_TRACKING_USERNAME")
                seen.append((name, before))
                assert "MLFLOW_TRACKING_TOKEN" not in os.environ

    threads = [threading.Thread(target=use, args=(name,)) for name in ("ada", "ada", "bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(seen) == 600
    assert all(wanted == found for wanted, found in seen)
    assert os.environ["MLFLOW_TRACKING_TOKEN"] == "outer"
    assert "MLFLOW_TRACKING_USERNAME" not in os.environ
