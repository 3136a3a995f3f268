"""The lifecycle on object storage: S3 over HTTP, spoken by moto's server and s3fs."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas
import pyarrow
import pytest

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.data.dataset_writer import DatasetWriter
from airflow_provider_mlops.data.profile import Profile
from airflow_provider_mlops.data.task_identity import TaskIdentity
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.analyze import step as analyze
from airflow_provider_mlops.lifecycle.evaluate import step as evaluate
from airflow_provider_mlops.lifecycle.extract import step as extract
from airflow_provider_mlops.lifecycle.prepare import step as prepare
from airflow_provider_mlops.lifecycle.step import Step
from airflow_provider_mlops.lifecycle.train import step as train
from airflow_provider_mlops.lifecycle.validate import step as validate
from airflow_provider_mlops.lifecycle.validate_data import step as validate_data
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.registry import audit
from tests.helpers.prediction_log import log_predictions

s3fs = pytest.importorskip("s3fs", reason="S3's file system is missing: pip install s3fs")
pytest.importorskip("moto", reason="the S3 server of the tests is missing: pip install 'moto[server]'")


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URI of a bucket, which this process and those that it starts can reach."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("s3") / "log"
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "ada",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "NO_PROXY": "127.0.0.1",
    }
    with open(log, "w") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=output, stderr=output
        )
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        try:
            for _ in range(300):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                assert server.poll() is None, log.read_text()
                time.sleep(0.1)
            s3fs.S3FileSystem.clear_instance_cache()
            s3fs.S3FileSystem().mkdir("bucket")
            yield "s3://bucket"
        finally:
            server.terminate()
            server.wait(20)
            s3fs.S3FileSystem.clear_instance_cache()


def workspace_of(uri: str, task_id: str, **fields: Any) -> Workspace:
    task = TaskIdentity(dag_id="churn", run_id="manual__2026-01-01T00:00:00+00:00", task_id=task_id, owner="ada")
    return Workspace(storage_uri=uri, task=task, **fields)


@pytest.fixture
def tracking_uri(tmp_path: Path, mlflow_database: Path) -> str:
    """An MLflow database; the artifacts go to where the workspace's storage is."""
    shutil.copy(mlflow_database, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


def test_the_whole_way_from_data_to_a_judged_model(s3: str, tracking_uri: str) -> None:
    """Every step reads what the one before it has written, and of it only MLflow's database lies on this machine."""
    uri = f"{s3}/mlops"

    def run(step: Step, **fields: Any) -> Any:
        return step.run(step.parse(fields), workspace_of(uri, step.name, tracking_uri=tracking_uri))

    frame = pandas.DataFrame(
        {
            "age": [20 + i % 50 for i in range(600)],
            "plan": [("free", "plus", "team")[i % 3] for i in range(600)],
            "churned": [int(i % 50 + 7 * (i % 3) > 30) for i in range(600)],
        }
    )
    for part, rows in enumerate((frame[:250], frame[250:])):
        storage.write_bytes(f"{s3}/in coming/part={part}/rows.csv", rows.to_csv(index=False).encode())
    extracted = run(
        extract.STEP,
        dataset_name="customers",
        source={"kind": "files", "paths": f"{s3}/in coming/*/rows.csv"},
    )
    assert extracted.rows == 600
    assert extracted.dataset.uri.startswith(uri)
    analyzed = run(analyze.STEP, dataset=extracted.dataset, target="churned", slices=["plan"])
    assert Profile.read(analyzed.profile_uri).rows == 600
    checked = run(validate_data.STEP, dataset=extracted.dataset, reference_profile_uri=analyzed.profile_uri)
    assert checked.verdict == "passed"
    prepared = run(prepare.STEP, dataset=checked.dataset, target="churned", split={"method": "stratified"})
    assert prepared.train.rows + prepared.validation.rows + prepared.test.rows == 600
    again = run(prepare.STEP, dataset=checked.dataset, target="churned", split={"method": "stratified"})
    assert again.skipped
    trained = run(
        train.STEP,
        dataset=prepared.train,
        validation_dataset=prepared.validation,
        target="churned",
        estimator="sklearn.tree.DecisionTreeClassifier",
        parameters={"max_depth": 4},
        trusted_types=["sklearn.tree._tree.Tree"],
        preprocessing=prepared.preprocessing,
        model_name="churn-on-s3",
        profile_uri=analyzed.profile_uri,
    )
    evaluated = run(evaluate.STEP, model=trained.model, dataset=prepared.test, target="churned", resamples=100)
    assert evaluated.metrics["accuracy"] > 0.8
    judged = run(
        validate.STEP,
        model=trained.model,
        evaluation_uri=evaluated.evaluation_uri,
        gates=[{"kind": "limit", "metric": "accuracy", "min_value": 0.7}],
    )
    assert judged.verdict == "approved"
    for found in (analyzed.profile_uri, analyzed.report_uri, evaluated.evaluation_uri, evaluated.report_uri):
        assert found.startswith(uri)
        assert storage.exists(found)
    assert storage.names(f"{uri}/mlflow-artifacts")


def test_files_of_every_format(s3: str, tmp_path: Path) -> None:
    frame = pandas.DataFrame({"a": [1, 2, 3], "b": ["x", "y", None]})
    written = {
        "rows.csv": frame.to_csv(index=False).encode(),
        "rows.jsonl": frame.to_json(orient="records", lines=True).encode(),
        "rows.parquet": frame.to_parquet(),
    }
    found = set()
    for name, content in written.items():
        storage.write_bytes(f"{s3}/formats/{name}", content)
        spec = {"dataset_name": "rows", "source": {"kind": "files", "paths": f"{s3}/formats/{name}"}}
        workspace = workspace_of(str(tmp_path / "mlops"), "extract")
        found.add(extract.STEP.run(extract.STEP.parse(spec), workspace).fingerprint)
    assert len(found) == 1
    assert Dataset.at(f"{s3}/formats/rows.parquet").fingerprint in found


def test_missing_files_and_buckets_are_named(s3: str, tmp_path: Path) -> None:
    workspace = workspace_of(str(tmp_path / "mlops"), "extract")
    for paths in (f"{s3}/nothing.csv", f"{s3}/nothing/*.csv", "s3://no-such-bucket/rows.csv"):
        spec = {"dataset_name": "rows", "source": {"kind": "files", "paths": paths}}
        with pytest.raises(InvalidSpecError, match=r"source\.paths='s3://"):
            extract.STEP.run(extract.STEP.parse(spec), workspace)


# -- a dataset is there as a whole or not at all -----------------------------------------------------


def numbers(count: int, start: int = 0) -> pyarrow.Table:
    return pyarrow.table({"a": list(range(start, start + count))})


def test_a_dataset_shows_when_its_manifest_is_there(s3: str) -> None:
    uri = f"{s3}/datasets/whole"
    with DatasetWriter(uri, "numbers") as writer:
        writer.write(numbers(10))
        with pytest.raises(InvalidSpecError, match=r"(there is no dataset|has no manifest)"):
            Dataset.at(uri)
        first = writer.commit()
    assert Dataset.at(uri) == first
    assert sorted(first.table().a.to_pyarrow().to_pylist()) == list(range(10))
    with DatasetWriter(uri, "numbers") as writer:
        writer.write(numbers(5))
    assert Dataset.at(uri) == first
    assert len(storage.names(uri)) == 2
    with DatasetWriter(uri, "numbers") as writer:
        writer.write(numbers(3))
        second = writer.commit()
    assert second.table().count().to_pyarrow().as_py() == 3
    assert len(storage.names(uri)) == 2
    with pytest.raises(InvalidSpecError, match="its content changed"):
        first.files()


def test_a_writer_that_is_killed_leaves_nothing_visible(s3: str) -> None:
    uri = f"{s3}/datasets/killed"
    code = f"""
import os, pyarrow
from airflow_provider_mlops.data.dataset_writer import DatasetWriter
writer = DatasetWriter({uri!r}, "numbers")
writer.__enter__()
writer.write(pyarrow.table({{"a": [1, 2, 3]}}))
writer._close_file()
os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 9
    assert storage.names(uri)
    with pytest.raises(InvalidSpecError, match="no manifest, so its writer has not finished"):
        Dataset.at(uri)
    with DatasetWriter(uri, "numbers") as writer:
        writer.write(numbers(4))
        writer.commit()
    assert Dataset.at(uri).arrow()["a"].to_pylist() == [0, 1, 2, 3]


def test_what_another_process_writes_is_seen_at_once(s3: str) -> None:
    """Though this process has listed the directory before."""
    uri = f"{s3}/datasets/elsewhere"
    with DatasetWriter(uri, "numbers") as writer:
        writer.write(numbers(4))
        writer.commit()
    assert Dataset.at(uri).table().count().to_pyarrow().as_py() == 4
    assert len(storage.names(uri)) == 2
    code = f"""
import pyarrow
from airflow_provider_mlops.data.dataset_writer import DatasetWriter
with DatasetWriter({uri!r}, "numbers") as writer:
    writer.write(pyarrow.table({{"a": [1, 2, 3]}}))
    writer.commit()
"""
    subprocess.run([sys.executable, "-c", code], timeout=120, check=True)
    assert Dataset.at(uri).arrow()["a"].to_pylist() == [1, 2, 3]
    assert Dataset.at(uri).table().count().to_pyarrow().as_py() == 3


# -- of several writers one wins --------------------------------------------------------------------


def test_of_several_creators_exactly_one_wins(s3: str) -> None:
    for round_ in range(10):
        uri = f"{s3}/created/{round_}.json"
        barrier = threading.Barrier(6)
        won: list[int] = []

        def create(number: int, uri: str = uri, barrier: threading.Barrier = barrier, won: list[int] = won) -> None:
            barrier.wait()
            try:
                storage.create(uri, str(number).encode())
            except FileExistsError:
                return
            won.append(number)

        threads = [threading.Thread(target=create, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [storage.read_text(uri)] == [str(number) for number in won]


def test_an_s3fs_that_would_overwrite_is_refused(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Releases before 2024.12 had this method without `mode`; with an older botocore, `mode` has no effect."""
    with monkeypatch.context() as patch:
        patch.setattr("airflow_provider_mlops.data.storage.version", lambda name: "1.31.17")
        with pytest.raises(InvalidSpecError, match=r"aiobotocore>=2\.16"):
            storage.create(f"{s3}/created/old.json", b"")

    async def pipe_file(self: Any, path: str, data: bytes, chunksize: int = 50 * 2**20, **options: Any) -> None:
        raise AssertionError("it must not come to writing")

    monkeypatch.setattr(s3fs.S3FileSystem, "_pipe_file", pipe_file)
    with pytest.raises(InvalidSpecError, match=r"Install s3fs>=2024\.12"):
        storage.create(f"{s3}/created/old.json", b"")


def test_the_audit_trail(s3: str, tracking_uri: str) -> None:
    registry = workspace_of(f"{s3}/audited", "deploy", tracking_uri=tracking_uri).registry()
    by = TaskIdentity(dag_id="churn", run_id="one", task_id="deploy")
    first = audit.AuditEntry(
        sequence=1,
        action="promote",
        model_name="a model",
        from_version=None,
        to_version=1,
        previous_version=None,
        by=by,
        reason="",
    )
    audit.append(registry, first)
    assert audit.last(registry, "a model") == first
    with pytest.raises(FileExistsError):
        audit.append(registry, first.model_copy(update={"to_version": 2}))
    changes = {"sequence": audit.next_sequence(first), "from_version": 1, "to_version": 2}
    second = audit.append(registry, first.model_copy(update=changes))
    assert audit.entries(registry, "a model") == [first, second]


def test_a_step_in_a_process_of_its_own(s3: str, tmp_path: Path) -> None:
    """As PythonRuntime runs it: storage is found by the environment, nothing else is handed over."""
    request, result = tmp_path / "request.json", tmp_path / "result.json"
    spec = {"dataset_name": "iris", "source": {"kind": "sklearn", "name": "iris"}}
    workspace = workspace_of(f"{s3}/apart", "extract").model_dump(mode="json")
    request.write_text(json.dumps({"step": "extract", "spec": spec, "workspace": workspace}))
    command = [sys.executable, "-m", "airflow_provider_mlops.lifecycle", str(request), str(result)]
    subprocess.run(command, timeout=200, check=True, env=dict(os.environ))
    dataset = Dataset.model_validate(json.loads(result.read_text())["result"]["dataset"])
    assert dataset.arrow().num_rows == 150


def test_the_prediction_log_on_object_storage(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gateway keeps the newest rows on its own disk; once compacted, monitoring reads them from storage."""
    from airflow_provider_mlops.serving.log import compaction, layout, prediction_id, prediction_log, write_ahead
    from airflow_provider_mlops.serving.log.schema import LogSchema

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    uri = f"{s3}/served"
    log = write_ahead.WriteAhead(layout.write_ahead_root(uri))
    log_predictions(
        log,
        LogSchema("a model", 1, (("age", "double"),), "long", ("0", "1")),
        prediction_id.new(),
        arm="champion",
        propensity=1.0,
        features=[[30.0, 40.0]],
        output=[0, 1],
        probabilities=[[0.9, 0.2], [0.1, 0.8]],
        latency_ms=1.0,
    )
    log.rotate()
    assert compaction.compact(uri, log) == 1
    table = prediction_log.read(uri, "a model").order_by("feature_age")
    assert table.feature_age.to_pyarrow().to_pylist() == [30.0, 40.0]
    assert table.output.to_pyarrow().to_pylist() == [0, 1]
