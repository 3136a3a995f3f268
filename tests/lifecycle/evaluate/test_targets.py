"""Evaluations of every kind of target: several classes, text, booleans, numbers, and without probabilities."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet
import pytest
from sklearn import metrics as oracle
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.svm import LinearSVC

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.data.profile import Profile
from airflow_provider_mlops.errors import InvalidSpecError
from tests.helpers.evaluation import House
from tests.helpers.models import customers, write


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
    with pytest.raises(InvalidSpecError, match=r"positive_class='lost': .*'gone', 'loyal'"):
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
        "mean_prediction_difference",
        "mean_error_difference",
        "mae_difference",
    }
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
