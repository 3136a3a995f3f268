"""The step evaluate: real models in the real MLflow, numbers against scikit-learn and fairlearn."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
from fairlearn.metrics import demographic_parity_difference, equalized_odds_difference
from sklearn import metrics as oracle
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.data.lineage import TaskIdentity
from airflow_provider_mlops.data.profile import Profile
from airflow_provider_mlops.data.profiling import profile
from airflow_provider_mlops.errors import InvalidSpecError, RejectedError
from airflow_provider_mlops.lifecycle.evaluate import STEP, EvaluateResult, EvaluateSpec, evaluate
from airflow_provider_mlops.lifecycle.evaluation import Evaluation
from airflow_provider_mlops.lifecycle.result_size import RESULT_BYTES
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.registry import models, promotion, tags
from airflow_provider_mlops.registry.model_version import ModelVersion
from airflow_provider_mlops.registry.rows import feature_rows
from tests.lifecycle.models_in_test import customers, register, write

FEATURES = ["age", "income", "visits", "region"]


class House:
    """A storage with datasets and models that the tests share. Each test evaluates as a task of its own."""

    def __init__(self, directory: Path) -> None:
        task = TaskIdentity(dag_id="churn", run_id="manual__1", task_id="train", owner="ada")
        self.workspace = Workspace(storage_uri=str(directory), task=task)
        self.train = write(self.workspace, "train", customers(500, 1))
        self.test_frame = customers(400, 2)
        self.test = write(self.workspace, "test", self.test_frame)
        self.model = self.register("churn", "target", "classification", LogisticRegression())

    def register(self, name: str, target: str, problem: str, estimator: Any, **options: Any) -> ModelVersion:
        options.setdefault("features", FEATURES)
        options.setdefault("dataset", self.train)
        return register(self.workspace, name, target=target, problem=problem, estimator=estimator, **options)

    def as_task(self, task_id: str) -> Workspace:
        return self.workspace.model_copy(update={"task": self.workspace.task.model_copy(update={"task_id": task_id})})

    def evaluate(self, task_id: str, **fields: Any) -> tuple[EvaluateResult, Evaluation]:
        fields = {"model": self.model, "dataset": self.test, "target": "target", "resamples": 200, **fields}
        result = evaluate(EvaluateSpec(**fields), self.as_task(task_id))
        return result, Evaluation.read(result.evaluation_uri)

    def predicted(self, model: ModelVersion, frame: pd.DataFrame, features: list[str] | None = None) -> Any:
        fitted = models.load(self.workspace.registry(), model)
        rows = feature_rows(pyarrow.Table.from_pandas(frame, preserve_index=False), features or FEATURES)
        return fitted.predict(rows), fitted.predict_proba(rows) if hasattr(fitted, "predict_proba") else None


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, mlflow_database: Path) -> House:
    directory = tmp_path_factory.mktemp("evaluate")
    shutil.copy(mlflow_database, directory / "mlflow.db")
    return House(directory)


@pytest.fixture(scope="module")
def binary(house: House) -> tuple[EvaluateResult, Evaluation]:
    return house.evaluate("binary", slices=("region", "age"), sensitive=("sex",))


def test_metrics_are_those_of_scikit_learn_and_lie_in_their_intervals(
    house: House, binary: tuple[EvaluateResult, Evaluation]
) -> None:
    result, evaluation = binary
    truth = house.test_frame["target"]
    output, probability = house.predicted(house.model, house.test_frame)
    assert result.metrics["accuracy"] == pytest.approx(oracle.accuracy_score(truth, output))
    assert result.metrics["f1"] == pytest.approx(oracle.f1_score(truth, output))
    assert result.metrics["roc_auc"] == pytest.approx(oracle.roc_auc_score(truth, probability[:, 1]))
    assert result.metrics["log_loss"] == pytest.approx(oracle.log_loss(truth, probability))
    assert result.metrics["average_precision"] == pytest.approx(
        oracle.average_precision_score(truth, probability[:, 1])
    )
    assert set(result.intervals) == set(result.metrics)
    for name, (low, high) in result.intervals.items():
        assert low < result.metrics[name] < high, name
    assert evaluation.metrics == result.metrics
    assert (evaluation.rows, evaluation.classes, evaluation.main_metric) == (400, ("0", "1"), "roc_auc")
    assert (result.champion, result.champion_version) == (None, None)
    assert evaluation.champion_note == "there is no champion yet"


def test_the_baseline_knows_the_training_rows_and_not_the_test_rows(
    house: House, binary: tuple[EvaluateResult, Evaluation]
) -> None:
    _, evaluation = binary
    assert evaluation.baseline.fitted_on == f"the training data of its run, {house.train.uri}"
    # The test rows are all of the class that is rare in the given training rows: whoever peeked would be right.
    frame = customers(600, 3)
    rare = write(house.as_task("rare"), "rare", frame[(frame.target == 0) | (frame.index % 5 == 0)])
    only = write(house.as_task("rare"), "only", frame[frame.target == 1])
    result, evaluation = house.evaluate("rare", dataset=only, training_dataset=rare)
    assert rare.uri in evaluation.baseline.fitted_on
    assert result.baseline["accuracy"] == 0
    shares = rare.arrow()["target"].to_pandas().value_counts(normalize=True)
    assert result.baseline["log_loss"] == pytest.approx(-np.log(shares[1]))
    # Of one class, ranks have no meaning.
    assert "roc_auc" not in result.metrics
    assert evaluation.main_metric == "balanced_accuracy"


def test_slices_are_scored_on_their_own_rows(house: House, binary: tuple[EvaluateResult, Evaluation]) -> None:
    evaluation = binary[1]
    frame = house.test_frame
    output, probability = house.predicted(house.model, frame)
    by = {(part.column, part.value): part for part in evaluation.slices}
    assert {value for column, value in by if column == "region"} == {"north", "south", "west"}
    south = (frame.region == "south").to_numpy()
    part = by["region", "south"]
    assert part.rows == south.sum()
    assert part.metrics["accuracy"] == pytest.approx(oracle.accuracy_score(frame.target[south], output[south]))
    assert part.metrics["roc_auc"] == pytest.approx(oracle.roc_auc_score(frame.target[south], probability[south, 1]))
    low, high = part.intervals["accuracy"]
    assert low < part.metrics["accuracy"] < high
    ages = [part for (column, _), part in by.items() if column == "age"]
    assert [part.rows for part in ages] == [100] * 4
    assert all(re.fullmatch(r"[\d.]+ to [\d.]+", part.value) for part in ages)


def test_fairness_is_that_of_fairlearn(house: House, binary: tuple[EvaluateResult, Evaluation]) -> None:
    (found,) = binary[1].fairness
    frame = house.test_frame
    output, _ = house.predicted(house.model, frame)
    both: dict[str, Any] = {"y_true": frame.target, "y_pred": output, "sensitive_features": frame.sex}
    assert found.column == "sex"
    assert found.metrics["demographic_parity_difference"] == pytest.approx(demographic_parity_difference(**both))
    assert found.metrics["equalized_odds_difference"] == pytest.approx(equalized_odds_difference(**both))
    assert found.intervals.keys() == found.metrics.keys()
    for name, (low, high) in found.intervals.items():
        assert low <= found.metrics[name] + 1e-9
        assert found.metrics[name] <= high + 1e-9
        assert low < high
    assert {name: group["rows"] for name, group in found.groups.items()} == frame.sex.value_counts().to_dict()


def test_calibration_counts_every_row_once(house: House, binary: tuple[EvaluateResult, Evaluation]) -> None:
    _, probability = house.predicted(house.model, house.test_frame)
    bins = binary[1].calibration
    assert sum(part.rows for part in bins) == 400
    for part in bins:
        inside = (probability[:, 1] >= part.lower - 1e-12) & (probability[:, 1] < part.upper - 1e-12)
        assert part.rows == inside.sum()
        assert part.observed == pytest.approx(house.test_frame.target[inside].mean())
        assert part.interval[0] <= part.observed <= part.interval[1]
    weighted = sum(part.rows * abs(part.observed - part.predicted) for part in bins) / 400
    assert weighted == pytest.approx(binary[1].metrics["calibration_error"])


def test_predictions_profile_report_and_mlflow(house: House, binary: tuple[EvaluateResult, Evaluation]) -> None:
    result, evaluation = binary
    output, probability = house.predicted(house.model, house.test_frame)
    table = pyarrow.parquet.read_table(evaluation.predictions_uri).to_pandas()
    assert table["model"].tolist() == [str(value) for value in output]
    assert table["target"].tolist() == [str(value) for value in house.test_frame.target]
    np.testing.assert_allclose(table["model_probability_1"], probability[:, 1])
    assert table["slice_sex"].tolist() == house.test_frame.sex.tolist()
    assert len(set(table["baseline"])) == 1

    predicted = Profile.read(evaluation.prediction_profile_uri)
    assert predicted.names == ("prediction", "probability_0", "probability_1")
    assert predicted.rows == 400
    assert predicted.column("probability_1").mean == pytest.approx(probability[:, 1].mean())

    registry = house.workspace.registry()
    version_tags = models.tags(registry, house.model)
    assert version_tags[tags.EVALUATION_URI].startswith(house.workspace.storage_uri)
    assert version_tags[tags.PREDICTION_PROFILE_URI].endswith("prediction_profile.json")
    run = registry.client.get_run(result.mlflow_run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["roc_auc"] == pytest.approx(result.metrics["roc_auc"])
    assert run.data.metrics["roc_auc_low"] == pytest.approx(result.intervals["roc_auc"][0])
    assert run.data.metrics["baseline_log_loss"] == pytest.approx(result.baseline["log_loss"])
    assert [given.dataset.name for given in run.inputs.dataset_inputs] == ["test"]
    logged = registry.client.get_logged_model(version_tags[tags.MODEL_ID])
    assert {metric.key for metric in logged.metrics} >= {"roc_auc", "accuracy_high"}
    assert {item.path for item in registry.client.list_artifacts(result.mlflow_run_id)} >= {
        "evaluation.json",
        "reports",
    }

    html = storage.read_text(result.report_uri)
    for section in ("Metrics", "Ranking", "Confusion", "Calibration", "Slices", "Fairness"):
        assert f">{section}</h2>" in html
    assert html.count("<img ") == 4
    assert len(json.dumps(result.model_dump(mode="json"))) <= RESULT_BYTES


def test_more_classes_and_text_labels(house: House) -> None:
    train = write(house.as_task("text"), "train", customers(600, 4, classes=4, text=True))
    frame = customers(300, 5, classes=4, text=True)
    test = write(house.as_task("text"), "test", frame)
    model = house.register("segment", "target", "classification", LogisticRegression(), dataset=train, task_id="t-text")
    result, evaluation = house.evaluate("text", model=model, dataset=test, slices=("region",), sensitive=("sex",))
    output, probability = house.predicted(model, frame)
    assert evaluation.classes == ("gone", "loyal", "new", "old")
    assert result.metrics["f1"] == pytest.approx(oracle.f1_score(frame.target, output, average="macro"))
    assert result.metrics["roc_auc"] == pytest.approx(
        oracle.roc_auc_score(frame.target, probability, multi_class="ovr")
    )
    assert result.metrics["log_loss"] == pytest.approx(oracle.log_loss(frame.target, probability))
    table = pyarrow.parquet.read_table(evaluation.predictions_uri).to_pandas()
    assert table["model"].tolist() == output.tolist()
    html = storage.read_text(result.report_uri)
    assert html.count("<img ") == 4


def test_the_positive_class_can_be_named(house: House) -> None:
    frame = customers(300, 6, text=True)
    data = write(house.as_task("positive"), "data", frame)
    model = house.register("named", "target", "classification", LogisticRegression(), dataset=data, task_id="t-named")
    output, probability = house.predicted(model, frame)
    for positive, code in (("gone", 0), ("loyal", 1)):
        result, evaluation = house.evaluate("positive", model=model, dataset=data, positive_class=positive)
        assert evaluation.classes[1] == positive
        assert result.metrics["recall"] == pytest.approx(oracle.recall_score(frame.target, output, pos_label=positive))
        assert result.metrics["average_precision"] == pytest.approx(
            oracle.average_precision_score(frame.target, probability[:, code], pos_label=positive)
        )
    with pytest.raises(InvalidSpecError, match="here are 'gone', 'loyal'"):
        house.evaluate("positive", model=model, dataset=data, positive_class="lost")


def test_a_model_without_probabilities(house: House) -> None:
    model = house.register("hard", "target", "classification", LinearSVC(), task_id="t-hard")
    result, evaluation = house.evaluate("hard", model=model)
    assert {"roc_auc", "log_loss", "calibration_error"}.isdisjoint(result.metrics)
    assert evaluation.main_metric == "balanced_accuracy"
    assert evaluation.calibration == ()
    assert Profile.read(evaluation.prediction_profile_uri).names == ("prediction",)
    assert storage.read_text(result.report_uri).count("<img ") == 1


def test_regression(house: House) -> None:
    model = house.register("spend", "spend", "regression", LinearRegression(), task_id="t-spend")
    result, evaluation = house.evaluate(
        "spend", model=model, target="spend", slices=("region", "visits"), sensitive=("sex",)
    )
    truth = house.test_frame.spend
    output, _ = house.predicted(model, house.test_frame)
    assert result.metrics["rmse"] == pytest.approx(oracle.root_mean_squared_error(truth, output))
    assert result.metrics["r2"] == pytest.approx(oracle.r2_score(truth, output))
    assert evaluation.main_metric == "r2"
    # The baseline is the mean of the training rows.
    mean = house.train.arrow()["spend"].to_numpy().mean()
    assert result.baseline["mae"] == pytest.approx(oracle.mean_absolute_error(truth, np.full(400, mean)))
    assert {part.value for part in evaluation.slices if part.column == "visits"} == {"0", "1", "2", "3", "4", "5"}
    assert set(evaluation.fairness[0].metrics) == {
        "mean_prediction_difference", "mean_error_difference", "mae_difference",
    }  # fmt: skip
    html = storage.read_text(result.report_uri)
    assert ">Residuals</h2>" in html
    assert html.count("<img ") == 2


def test_labels_that_are_true_or_false_and_classes_that_the_model_never_saw(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    frame = customers(300, 9)
    frame = frame.assign(flag=frame.target == 1, town=frame.target.map({0: "Rome", 1: "Oslo"}))
    data = write(house.as_task("flag"), "data", frame)
    model = house.register("flag", "flag", "classification", LogisticRegression(), dataset=data, task_id="t-flag")
    result, evaluation = house.evaluate("flag", model=model, dataset=data, target="flag")
    assert evaluation.classes == ("False", "True")
    assert result.metrics["accuracy"] > 0.8
    assert set(evaluation.example.predictions) == {True, False}

    model = house.register("town", "town", "classification", LogisticRegression(), dataset=data, task_id="t-town")
    moved = write(house.as_task("town"), "moved", frame.assign(town=frame.town.where(frame.index > 29, "Bern")))
    result, evaluation = house.evaluate("town", model=model, dataset=moved, target="town")
    assert evaluation.classes == ("Oslo", "Rome", "Bern")
    assert "classes that town version 1 does not know and never predicts: 'Bern'" in caplog.text
    truth = moved.arrow()["town"].to_pylist()
    output, _ = house.predicted(model, frame)
    assert result.metrics["recall"] == pytest.approx(oracle.recall_score(truth, output, average="macro"))


def test_a_regressor_is_no_classifier(house: House) -> None:
    model = house.register("number", "spend", "regression", LinearRegression(), task_id="t-number")
    with pytest.raises(InvalidSpecError, match=r"problem='classification': the model predicts numbers such as"):
        house.evaluate("number", model=model, problem="classification")


def test_rows_that_the_model_cannot_predict_are_named(house: House) -> None:
    frame = house.test_frame
    for name, wrong, message in (
        ("text", frame.assign(age="old"), r"could not convert string to float"),
        ("infinite", frame.assign(income=np.inf), r"the columns \['income'\] have infinite values"),
    ):
        rows = write(house.as_task("wrong"), name, wrong)
        with pytest.raises(InvalidSpecError, match=rf"dataset='.*/{name}'.*{message}.*test part of the prepare task"):
            house.evaluate("wrong", dataset=rows)
    other = write(house.as_task("wrong"), "other", frame.assign(target=frame.target.map({0: "no", 1: "yes"})))
    with pytest.raises(InvalidSpecError, match=r"target=\['no', 'yes'\]: none of these is a class of the model"):
        house.evaluate("wrong", dataset=other)


def test_the_champion_is_scored_on_the_same_rows(house: House) -> None:
    first = house.register("duel", "target", "classification", LogisticRegression(), task_id="t-first")
    second = house.register(
        "duel", "target", "classification", DecisionTreeClassifier(max_depth=1), task_id="t-second", features=["age"]
    )
    registry = house.workspace.registry()
    promotion.promote(registry, first, expected=None, by=house.workspace.task, reason="the first")
    result, evaluation = house.evaluate("duel", model=second, slices=("region",))
    output, probability = house.predicted(first, house.test_frame)
    assert result.champion_version == first.version
    assert result.champion is not None
    assert result.champion["accuracy"] == pytest.approx(oracle.accuracy_score(house.test_frame.target, output))
    table = pyarrow.parquet.read_table(evaluation.predictions_uri).to_pandas()
    np.testing.assert_allclose(table["champion_probability_1"], probability[:, 1])
    south = (house.test_frame.region == "south").to_numpy()
    part = next(part for part in evaluation.slices if part.value == "south")
    assert part.champion is not None
    assert part.champion["accuracy"] == pytest.approx(
        oracle.accuracy_score(house.test_frame.target[south], output[south])
    )
    run = registry.client.get_run(result.mlflow_run_id)
    assert run.data.metrics["champion_accuracy"] == pytest.approx(result.champion["accuracy"])
    assert "version 1" in storage.read_text(result.report_uri)

    itself, evaluation = house.evaluate("duel", model=first)
    assert (itself.champion, itself.champion_version) == (None, first.version)
    assert evaluation.champion_note == "version 1 is the champion itself"


def test_a_champion_that_cannot_answer_does_not_stop_the_step(house: House) -> None:
    old = house.register("moved", "target", "classification", LogisticRegression(), task_id="t-old")
    promotion.promote(house.workspace.registry(), old, expected=None, by=house.workspace.task, reason="the first")
    new = house.register(
        "moved", "target", "classification", LogisticRegression(), task_id="t-new", features=["age", "income"]
    )
    narrow = write(house.as_task("moved"), "narrow", house.test_frame.drop(columns="visits"))
    result, evaluation = house.evaluate("moved", model=new, dataset=narrow)
    assert (result.champion, result.champion_version) == (None, old.version)
    assert evaluation.champion_note == (
        "the champion, version 1, cannot be compared: the test rows lack its columns visits"
    )
    # Text where the champion takes numbers: it fails while it predicts.
    text = write(house.as_task("moved"), "text", house.test_frame.assign(visits="many"))
    result, evaluation = house.evaluate("moved", model=new, dataset=text)
    assert (result.champion, result.champion_version) == (None, old.version)
    assert evaluation.champion_note.startswith("the champion, version 1, cannot answer these rows: ")


def test_a_profile_stands_in_for_training_rows_that_are_gone(house: House) -> None:
    workspace = house.as_task("gone")
    train = write(workspace, "train", customers(300, 8))
    model = house.register("gone", "target", "classification", LogisticRegression(), dataset=train, task_id="t-gone")
    uri = profile(train.table(), target="target").write(workspace.uri("profiles") + "/profile.json")
    models.set_tags(workspace.registry(), model, {tags.PROFILE_URI: uri})
    expected, _ = house.evaluate("gone", model=model)
    storage.delete(train.uri)
    result, evaluation = house.evaluate("gone", model=model)
    assert evaluation.baseline.fitted_on == f"the data's profile, {uri}"
    assert result.baseline == pytest.approx(expected.baseline)
    storage.delete(uri)
    result, evaluation = house.evaluate("gone", model=model)
    assert evaluation.baseline.fitted_on == "the model's classes alone, for want of its training data"
    assert result.baseline["log_loss"] == pytest.approx(np.log(2))


def test_a_retry_continues_the_run_and_says_the_same(house: House) -> None:
    first, before = house.evaluate("again", slices=("region",))
    second, after = house.evaluate("again", slices=("region",))
    assert first == second
    assert before.model_copy(update={"created_at": after.created_at}) == after
    registry = house.workspace.registry()
    runs = registry.client.search_runs(
        [registry.experiment("churn")], "tags.`mlops.step` = 'evaluate' and tags.`mlops.task_id` = 'again'"
    )
    assert [run.info.run_id for run in runs] == [first.mlflow_run_id]
    assert sorted(storage.names(house.as_task("again").uri("evaluations"))) == [
        "evaluation.json", "example.parquet", "prediction_profile.json", "predictions.parquet",
    ]  # fmt: skip


def test_many_columns_and_rows_keep_the_result_small(house: House) -> None:
    frame = pd.concat([customers(1500, seed) for seed in range(20)], ignore_index=True)
    frame = frame.assign(**{f"group_{number}": frame.index % 40 for number in range(12)})
    data = write(house.as_task("large"), "large", frame)
    result, evaluation = house.evaluate("large", dataset=data, slices=("group_0", "group_1"), resamples=100)
    assert evaluation.rows == 30_000
    assert len(evaluation.slices) == 8
    assert len(json.dumps(result.model_dump(mode="json"))) <= RESULT_BYTES
    assert len(json.loads(storage.read_text(result.evaluation_uri))["slices"]) == 8
    # The largest scatter and the finest curve are thinned.
    assert len(storage.read_bytes(result.report_uri)) < 500_000


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"target": "targe"}, r"^target='targe': the dataset .* has no such column; did you mean 'target'"),
        ({"slices": ("regoin",)}, r"^slices='regoin': .* did you mean 'region'"),
        ({"sensitive": ("skin",)}, r"^sensitive='skin': .* name one of 'age', 'income'"),
        ({"target": "age"}, r"^target='age': the model takes this column as a feature"),
        ({"problem": "regression"}, r"^problem='regression': churn version \d predicts classes"),
        ({"target": "spend"}, r"^target='spend': classes must be whole numbers"),
        ({"model": ModelVersion(name="churn", version=99, run_id="x")}, r"^model='churn/99': churn has no version 99"),
        ({"model": ModelVersion(name="chrun", version=1, run_id="x")}, r"^model='chrun/1'"),
        (
            {"dataset": Dataset(uri="/nowhere/at/all", name="x", rows=1, fingerprint="f")},
            r"^dataset='/nowhere/at/all': nothing lies there",
        ),
    ],
)  # fmt: skip
def test_bad_fields_name_the_way_out(house: House, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpecError, match=message):
        house.evaluate("bad", **fields)


def test_bad_data_names_the_way_out(house: House) -> None:
    frame = house.test_frame
    lacking = write(house.as_task("bad"), "lacking", frame.drop(columns="income"))
    with pytest.raises(InvalidSpecError, match=r"lacks 1 columns that the model takes, such as 'income'"):
        house.evaluate("bad", dataset=lacking)
    empty = write(house.as_task("bad"), "empty", frame.head(0))
    with pytest.raises(InvalidSpecError, match="it has no rows"):
        house.evaluate("bad", dataset=empty)
    holes = write(house.as_task("bad"), "holes", frame.assign(target=frame.target.where(frame.index > 2)))
    with pytest.raises(RejectedError, match="3 of 400 rows have no value"):
        house.evaluate("bad", dataset=holes)
    stale = house.test.model_copy(update={"fingerprint": "0" * 32})
    with pytest.raises(InvalidSpecError, match="its content changed"):
        house.evaluate("bad", dataset=stale)
    registry = house.workspace.registry()
    runs = registry.client.search_runs([registry.experiment("churn")], "tags.`mlops.task_id` = 'bad'")
    assert {run.info.status for run in runs} == {"FAILED"}


def test_predictions_that_are_no_numbers_are_rejected(house: House) -> None:
    model = house.register("huge", "spend", "regression", LinearRegression(), task_id="t-huge", features=["age"])
    # Twenty times the scaled age is more than a float holds.
    frame = house.test_frame.assign(age=house.test_frame.age.where(house.test_frame.index > 4, 1.7e308))
    data = write(house.as_task("huge"), "huge", frame)
    with pytest.raises(RejectedError, match="5 of 400 predictions of the model are not finite"):
        house.evaluate("huge", model=model, target="spend", dataset=data)


def test_the_spec_is_checked_before_anything_runs() -> None:
    with pytest.raises(InvalidSpecError, match=r"confidence=1\.5"):
        STEP.parse(
            {
                "model": {"name": "a", "version": 1, "run_id": "r"},
                "dataset": _dataset(),
                "target": "t",
                "confidence": 1.5,
            }
        )
    with pytest.raises(InvalidSpecError, match="target=None: this field is required"):
        STEP.parse({"model": {"name": "a", "version": 1, "run_id": "r"}, "dataset": _dataset()})
    spec = STEP.parse({"model": {"name": "a", "version": 1, "run_id": "r"}, "dataset": _dataset(), "target": "t"})
    assert STEP.parse(json.loads(spec.model_dump_json())) == spec


def _dataset() -> dict[str, Any]:
    return {"uri": "/data", "name": "d", "rows": 1, "fingerprint": "f"}
