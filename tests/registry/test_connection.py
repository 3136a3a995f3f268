"""Runs and the connection to MLflow."""

from __future__ import annotations

import pytest

from airflow_provider_mlops.data.task_identity import TaskIdentity
from airflow_provider_mlops.errors import BackendUnavailableError, InvalidSpecError
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.run import open_run
from airflow_provider_mlops.registry.settings import RegistrySettings


def test_a_run_holds_what_is_logged(workspace: Workspace) -> None:
    registry = workspace.registry()
    with open_run(registry, workspace.task, "analyze", tags={"color": "blue"}) as run:
        run.log_params({"depth": 3})
        run.log_metrics({"accuracy": 0.9})
        run.log_text("hello", "notes/hello.txt")
    logged = registry.client.get_run(run.id)
    assert logged.info.status == "FINISHED"
    assert logged.data.params == {"depth": "3"}
    assert logged.data.metrics == {"accuracy": 0.9}
    assert logged.data.tags["mlops.owner"] == "ada"
    assert logged.data.tags["color"] == "blue"
    assert registry.client.get_experiment(logged.info.experiment_id).name == "churn"
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
    (continued,) = registry.client.search_runs([registry.experiment("churn")])
    assert continued.info.status == "FAILED"
    assert continued.data.tags["mlops.try_number"] == "2"
    with open_run(registry, workspace.task.model_copy(update={"map_index": 1}), "train") as run:
        assert run.id != continued.info.run_id
    with open_run(registry, workspace.task, "evaluate") as run:
        assert run.id != continued.info.run_id
    with open_run(registry, workspace.task, "train") as run:
        assert run.id == continued.info.run_id


def test_a_retry_with_other_parameters_leaves_one_run(workspace: Workspace) -> None:
    registry = workspace.registry()
    for depth in (3, 4):
        with open_run(registry, workspace.task, "train") as run:
            run.log_params({"depth": depth})
    runs = registry.client.search_runs([run.experiment_id])
    assert [(each.info.run_id, each.data.params["depth"]) for each in runs] == [(run.id, "4")]
    assert runs[0].info.status == "FINISHED"


def test_a_child_run_is_nested_and_continued(workspace: Workspace) -> None:
    registry = workspace.registry()
    ids = set()
    for _ in range(2):
        with open_run(registry, workspace.task, "tune") as parent, parent.child("trial 0", "trial 0") as child:
            child.log_metrics({"loss": 1.0})
            ids.add(child.id)
    assert len(ids) == 1
    assert registry.client.get_run(child.id).data.tags["mlflow.parentRunId"] == parent.id


def test_a_missing_server_is_reported_as_unavailable_within_seconds(tmp_path: object, task: TaskIdentity) -> None:
    import time

    start = time.monotonic()
    with pytest.raises(BackendUnavailableError, match=r"http://127\.0\.0\.1:9 is unavailable"):
        Registry(RegistrySettings(str(tmp_path), "http://127.0.0.1:9")).client.search_experiments()
    database = RegistrySettings(str(tmp_path), "postgresql://ada:secret@127.0.0.1:9/mlflow")
    with pytest.raises(BackendUnavailableError) as caught:
        Registry(database).client.search_experiments()
    assert "secret" not in str(caught.value)
    assert time.monotonic() - start < 10


def test_the_embedded_default_needs_a_local_directory() -> None:
    with pytest.raises(InvalidSpecError, match="Configure a connection"):
        Registry(RegistrySettings("s3://bucket/mlops"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tracking_uri": "htp://mlflow"}, "tracking_uri='htp://mlflow'"),
        ({"tracking_uri": None, "registry_uri": "htp://mlflow"}, "registry_uri='htp://mlflow'"),
    ],
)
def test_an_address_of_an_unknown_kind_is_named(tmp_path: object, fields: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidSpecError, match=f"{message}: MLflow does not support this address"):
        _ = Registry(RegistrySettings(str(tmp_path), **fields)).client


def test_an_experiment_is_marked_as_one_of_model_training(workspace: Workspace) -> None:
    registry = workspace.registry()
    tags = registry.client.get_experiment(registry.experiment("churn")).tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"


def test_a_deleted_experiment_is_named(workspace: Workspace) -> None:
    registry = workspace.registry()
    registry.client.delete_experiment(registry.experiment("churn"))
    with pytest.raises(InvalidSpecError, match="experiment='churn'"):
        registry.experiment("churn")


def test_a_server_that_does_not_respond_is_reported_as_unavailable(tmp_path: object) -> None:
    import socket
    import time

    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        start = time.monotonic()
        with pytest.raises(BackendUnavailableError, match="no response"):
            Registry(RegistrySettings(str(tmp_path), address)).client.search_experiments()
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
    assert all(expected == actual for expected, actual in seen)
    assert os.environ["MLFLOW_TRACKING_TOKEN"] == "outer"
    assert "MLFLOW_TRACKING_USERNAME" not in os.environ
