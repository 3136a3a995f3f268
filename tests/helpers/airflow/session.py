"""A real Airflow for tests: its own database, and DAGs made inside a test run with `dag.test()`."""

from __future__ import annotations

import functools
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.helpers.serving.live_gateway import LiveGateway


@pytest.fixture(scope="session")
def airflow_database() -> Iterator[None]:
    """An Airflow database with nothing in it, and one in-process API server for the whole session."""
    from airflow.sdk.execution_time import supervisor
    from airflow.utils.db import initdb

    initdb()
    # dag.test() makes an API server for each task, which takes seconds; one will do.
    once = functools.cache(supervisor.in_process_api_server)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(supervisor, "in_process_api_server", once)
        yield


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The storage directory that `[mlops] storage_uri` names during the test."""
    directory = tmp_path / "mlops"
    directory.mkdir()
    monkeypatch.setenv("AIRFLOW__MLOPS__STORAGE_URI", str(directory))
    return directory


@pytest.fixture
def run_dag(airflow_database: None, storage: Path) -> Callable[..., DagRunResult]:
    """A function that runs a DAG once, to its end, and tells how it went."""

    def run(dag: Any, *others: Any, **options: Any) -> DagRunResult:
        register(dag, *others)
        return DagRunResult(dag.test(**options))

    return run


@pytest.fixture
def gateway(storage: Path, mlflow_database: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveGateway]:
    """A gateway over the storage of the test, with a connection to it."""
    from airflow_provider_mlops.serving.gateway.access import local_key
    from tests.helpers.serving.live_gateway import LiveGateway

    shutil.copy(mlflow_database, storage / "mlflow.db")
    with LiveGateway(storage) as running:
        document = {"conn_type": "mlops_gateway", "host": running.url, "password": local_key.find(str(storage))}
        monkeypatch.setenv("AIRFLOW_CONN_MLOPS_GATEWAY_DEFAULT", json.dumps(document))
        yield running


def register(*dags: Any) -> None:
    """Write DAGs to the database, as the DAG processor does with the DAGs of a file."""
    try:
        from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

        options = {"bundle_name": "tests"}
    except ImportError:  # Airflow 3.1
        from airflow.models.dagbag import DagBag, sync_bag_to_db

        options = {}
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session

    with create_session() as session:
        session.merge(DagBundleModel(name="tests"))
    bag = DagBag(dag_folder=os.devnull, **options)
    for dag in dags:
        bag.bag_dag(dag)
    sync_bag_to_db(bag, "tests", None)


def serialized(dag: Any) -> Any:
    """The DAG as the scheduler gets it: JSON, which must be the same each time the file is parsed."""
    try:
        from airflow.serialization.serialized_objects import DagSerialization
    except ImportError:  # Airflow 3.1
        from airflow.serialization.serialized_objects import SerializedDAG

        return SerializedDAG.serialize_dag(dag)
    return DagSerialization.serialize_dag(dag)


def restore(data: Any) -> Any:
    """The scheduler's DAG from its JSON."""
    try:
        from airflow.serialization.serialized_objects import DagSerialization
    except ImportError:  # Airflow 3.1
        from airflow.serialization.serialized_objects import SerializedDAG

        return SerializedDAG.deserialize_dag(data)
    return DagSerialization.deserialize_dag(data)


def roundtrip(trigger: Any) -> Any:
    """A trigger as the triggerer makes it anew from its row in the database."""
    from importlib import import_module

    try:
        from airflow.sdk.serde import deserialize, serialize
    except ImportError:  # Airflow 3.1
        from airflow.serialization.serde import deserialize, serialize

    path, arguments = trigger.serialize()
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)(**deserialize(serialize(arguments)))


class DagRunResult:
    """A DAG run that has ended."""

    def __init__(self, dag_run: Any) -> None:
        self.dag_id: str = dag_run.dag_id
        self.run_id: str = dag_run.run_id
        self.state: str = str(dag_run.state)

    def task(self, task_id: str, map_index: int = -1) -> Any:
        """The task instance."""
        return self.tasks()[task_id, map_index]

    def tasks(self) -> dict[tuple[str, int], Any]:
        """All task instances by task id and map index."""
        from airflow.models.taskinstance import TaskInstance
        from airflow.utils.session import create_session
        from sqlalchemy import select

        with create_session() as session:
            query = select(TaskInstance).where(TaskInstance.dag_id == self.dag_id, TaskInstance.run_id == self.run_id)
            found = {(ti.task_id, ti.map_index): ti for ti in session.scalars(query)}
            session.expunge_all()
        return found

    def states(self) -> dict[str, str]:
        """The state of each task that is not mapped."""
        return {task_id: str(ti.state) for (task_id, map_index), ti in self.tasks().items() if map_index < 0}

    def clear(self, dag: Any, task_id: str) -> None:
        """Clear a task as a human does, and run it again as `dag.test()` does."""
        from airflow.models.dagrun import DagRun
        from airflow.models.taskinstance import TaskInstance, clear_task_instances
        from airflow.sdk.definitions.dag import _run_task
        from airflow.utils.session import create_session
        from airflow.utils.state import TaskInstanceState
        from sqlalchemy import select

        query = select(TaskInstance).where(
            TaskInstance.dag_id == self.dag_id, TaskInstance.run_id == self.run_id, TaskInstance.task_id == task_id
        )
        with create_session() as session:
            clear_task_instances(list(session.scalars(query)), session)
        with create_session() as session:
            run = session.scalars(
                select(DagRun).where(DagRun.dag_id == self.dag_id, DagRun.run_id == self.run_id)
            ).one()
            run.state = "running"
            cleared = session.scalars(query).one()
            cleared.try_number += 1
            cleared.state = TaskInstanceState.SCHEDULED
            session.commit()
            _run_task(ti=cleared, task=dag.task_dict[task_id], run_triggerer=True)

    def xcoms(self, task_id: str, map_index: int = -1) -> dict[str, Any]:
        """What the task has pushed."""
        from airflow.models.xcom import XComModel
        from airflow.utils.session import create_session
        from sqlalchemy import select

        with create_session() as session:
            query = select(XComModel).where(
                XComModel.dag_id == self.dag_id,
                XComModel.run_id == self.run_id,
                XComModel.task_id == task_id,
                XComModel.map_index == map_index,
            )
            return {row.key: XComModel.deserialize_value(row) for row in session.scalars(query)}

    def rendered(self, task_id: str) -> dict[str, Any]:
        """The fields as the UI's rendered view shows them."""
        from airflow.models.renderedtifields import RenderedTaskInstanceFields
        from airflow.utils.session import create_session
        from sqlalchemy import select

        fields = RenderedTaskInstanceFields
        with create_session() as session:
            query = select(fields).where(
                fields.dag_id == self.dag_id, fields.run_id == self.run_id, fields.task_id == task_id
            )
            found: dict[str, Any] = session.scalars(query).one().rendered_fields
            return found

    def asset_events(self) -> list[tuple[str, dict[str, Any]]]:
        """URI and extra of the asset events of this run, in their order."""
        from airflow.models.asset import AssetEvent, AssetModel
        from airflow.utils.session import create_session
        from sqlalchemy import select

        with create_session() as session:
            query = (
                select(AssetModel.uri, AssetEvent.extra)
                .join(AssetModel, AssetModel.id == AssetEvent.asset_id)
                .where(AssetEvent.source_dag_id == self.dag_id, AssetEvent.source_run_id == self.run_id)
                .order_by(AssetEvent.id)
            )
            return [(uri, extra) for uri, extra in session.execute(query)]
