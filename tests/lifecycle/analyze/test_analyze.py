"""Analyze: the profile, the report and the MLflow run; every wrong input with its error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy
import pandas
import pyarrow
import pytest

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.data.dataset_writer import DatasetWriter
from airflow_provider_mlops.data.profile import Profile
from airflow_provider_mlops.errors import BackendUnavailableError, InvalidSpecError
from airflow_provider_mlops.lifecycle.analyze.report import build, find
from airflow_provider_mlops.lifecycle.analyze.spec import AnalyzeResult
from airflow_provider_mlops.lifecycle.analyze.step import STEP
from airflow_provider_mlops.lifecycle.result_size import RESULT_BYTES
from airflow_provider_mlops.lifecycle.workspace import Workspace


def write(uri: str, frame: pandas.DataFrame) -> Dataset:
    with DatasetWriter(uri, "patients") as writer:
        writer.write(pyarrow.Table.from_pandas(frame, preserve_index=False))
        return writer.commit()


def analyze(workspace: Workspace, **fields: Any) -> AnalyzeResult:
    return STEP.run(STEP.parse(fields), workspace)


@pytest.fixture
def frame() -> pandas.DataFrame:
    from sklearn.datasets import load_breast_cancer

    rows = load_breast_cancer(as_frame=True).frame
    return rows.assign(
        diagnosis=numpy.where(rows["target"] == 1, "benign", "malignant"),
        patient=range(len(rows)),
        ward=["north", "<b>south</b>", None] * 189 + ["north", "north"],
        constant=1,
    )


@pytest.fixture
def dataset(tmp_path: Path, frame: pandas.DataFrame) -> Dataset:
    return write(str(tmp_path / "patients"), frame)


def test_a_profile_a_report_and_a_run(workspace: Workspace, dataset: Dataset, frame: pandas.DataFrame) -> None:
    result = analyze(workspace, dataset=dataset, target="target", slices=("ward",))
    assert (result.rows, result.columns, result.duplicate_rows) == (569, len(frame.columns), 0)
    assert set(result.suspected_leakage) == {"diagnosis", "patient"}
    assert result.class_balance == pytest.approx({"1": 357 / 569, "0": 212 / 569})
    assert result.dataset == dataset
    profile = Profile.read(result.profile_uri)
    assert profile.column("mean radius").mean == pytest.approx(frame["mean radius"].mean())
    assert profile.inferred_schema["diagnosis"] == "string"
    assert (profile.dataset_uri, profile.dataset_fingerprint) == (dataset.uri, dataset.fingerprint)
    assert {top.value: top.count for top in profile.slices[0].counts} == {"north": 191, "<b>south</b>": 189, None: 189}
    html = Path(result.report_uri).read_text()
    assert "&lt;b&gt;south&lt;/b&gt;" in html
    assert "<b>south</b>" not in html
    assert "mean radius" in html

    client = workspace.registry().client
    run = client.get_run(result.mlflow_run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["rows"] == 569
    assert run.data.metrics["class_share/1"] == pytest.approx(357 / 569)
    assert run.data.tags["mlops.data_fingerprint"] == dataset.fingerprint
    assert run.data.tags["mlops.profile_uri"] == result.profile_uri
    assert [logged.dataset.name for logged in run.inputs.dataset_inputs] == ["patients"]
    assert {artifact.path for artifact in client.list_artifacts(run.info.run_id)} == {"profile.json", "reports"}


def test_a_retry_replaces_what_the_first_try_made(workspace: Workspace, dataset: Dataset) -> None:
    first = analyze(workspace, dataset=dataset, target="target")
    retried = analyze(workspace, dataset=dataset, target="target")
    assert retried == first
    experiment = workspace.registry().client.get_experiment_by_name(workspace.task.dag_id)
    assert len(workspace.registry().client.search_runs([experiment.experiment_id])) == 1


def test_without_a_target(workspace: Workspace, dataset: Dataset) -> None:
    result = analyze(workspace, dataset=dataset)
    assert (result.suspected_leakage, result.class_balance) == ((), None)
    assert "Target" not in Path(result.report_uri).read_text()


def test_a_numeric_target(workspace: Workspace, dataset: Dataset) -> None:
    result = analyze(workspace, dataset=dataset, target="mean area")
    assert result.class_balance is None
    assert {"mean radius", "mean perimeter", "patient"} <= set(result.suspected_leakage)
    assert "Spearman" in Path(result.report_uri).read_text()


def test_a_thousand_columns_and_classes_fit_into_an_xcom(workspace: Workspace, tmp_path: Path) -> None:
    random = numpy.random.default_rng(1)
    label = random.integers(0, 60, 200)
    names = {f"a copy of the label under a rather long name, number {index}": label for index in range(300)}
    rows = write(str(tmp_path / "wide"), pandas.DataFrame({"label": [f"class {number}" for number in label], **names}))
    result = analyze(workspace, dataset=rows, target="label")
    assert len(json.dumps(result.model_dump(mode="json"))) <= RESULT_BYTES
    profile = Profile.read(result.profile_uri)
    assert len(profile.class_balance or {}) == len(set(label))
    assert len(result.suspected_leakage) < len(profile.suspected_leakage) == 300


def test_findings_need_attention() -> None:
    from airflow_provider_mlops.data import engine
    from airflow_provider_mlops.data.profiling import profile

    connection = engine.connect()
    connection.con.register(
        "odd",
        pyarrow.table(
            {
                "gone": pyarrow.array([None] * 100, "float64"),
                "sparse": [1.0] * 10 + [None] * 90,
                "same": [3] * 100,
                "infinite": [float("inf")] + [1.0, 2.0] * 49 + [1.0],
                "label": ["rare"] * 2 + ["common"] * 98,
            }
        ),
    )
    odd = profile(connection.table("odd"), target="label")
    words = {where: what for where, what, _ in find(odd)}
    assert "all values are missing" in words["gone"]
    assert "90.0% of its values are missing" in words["sparse"]
    assert "same value in every row" in words["same"]
    assert "infinite values: 1" in words["infinite"]
    assert "only 2.00% of the rows are of class rare" in words["label"]
    assert "duplicates of an earlier row: " in words["rows"]
    assert "Attention" in build(odd, "odd", "a/b/c").html() or "attention" in build(odd, "odd", "a/b/c").html()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"target": "diagnose"}, r"target='diagnose': it must be a column .*Did you mean 'diagnosis'"),
        ({"slices": ("ward", "floor")}, r"slices='floor': it must be a column .*'mean radius'"),
    ],
)
def test_a_wrong_column_is_named(workspace: Workspace, dataset: Dataset, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpecError, match=message):
        analyze(workspace, dataset=dataset, **fields)


@pytest.mark.parametrize(
    ("fields", "message"), [({"bins": 1}, "bins"), ({"top_values": 0}, "top_values"), ({"goal": "x"}, "goal")]
)
def test_a_wrong_spec_is_named_before_anything_runs(dataset: Dataset, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpecError, match=message):
        STEP.parse({"dataset": dataset, **fields})


def test_a_dataset_that_is_incomplete_missing_or_changed_is_named(
    workspace: Workspace, dataset: Dataset, frame: pandas.DataFrame, tmp_path: Path
) -> None:
    changed = dataset
    write(dataset.uri, frame.head(5))
    with pytest.raises(InvalidSpecError, match="content"):
        analyze(workspace, dataset=changed)
    (tmp_path / "patients" / "manifest.json").unlink()
    with pytest.raises(InvalidSpecError, match="manifest"):
        analyze(workspace, dataset=changed)
    with pytest.raises(InvalidSpecError, match=r"dataset=.*nowhere"):
        analyze(workspace, dataset=changed.model_copy(update={"uri": str(tmp_path / "nowhere")}))


def test_a_dataset_without_rows_has_no_profile_and_the_run_says_failed(
    workspace: Workspace, frame: pandas.DataFrame, tmp_path: Path
) -> None:
    empty = write(str(tmp_path / "empty"), frame.head(0))
    with pytest.raises(InvalidSpecError, match="rows"):
        analyze(workspace, dataset=empty)
    client = workspace.registry().client
    experiment = client.get_experiment_by_name(workspace.task.dag_id)
    assert [run.info.status for run in client.search_runs([experiment.experiment_id])] == ["FAILED"]


def test_an_unavailable_mlflow_is_named_before_the_work(workspace: Workspace, dataset: Dataset, free_port: int) -> None:
    unavailable = workspace.model_copy(update={"tracking_uri": f"http://127.0.0.1:{free_port}"})
    with pytest.raises(BackendUnavailableError, match=str(free_port)):
        analyze(unavailable, dataset=dataset)
    assert not Path(workspace.uri("profiles")).exists()
