"""The step evaluate on a real model in the real MLflow, its numbers against scikit-learn and fairlearn."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
from fairlearn.metrics import demographic_parity_difference, equalized_odds_difference
from sklearn import metrics as oracle
from sklearn.linear_model import LogisticRegression

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.data.profile import Profile
from airflow_provider_mlops.data.profiling import profile
from airflow_provider_mlops.lifecycle.evaluate.spec import EvaluateResult
from airflow_provider_mlops.lifecycle.result_size import RESULT_BYTES
from airflow_provider_mlops.lifecycle.scoring.evaluation import Evaluation
from airflow_provider_mlops.registry import models, tags
from tests.helpers.evaluation import House
from tests.helpers.models import customers, write


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
    assert evaluation.baseline.fitted_on == f"the training dataset of the run, {house.train.uri}"
    # All test rows are of the class that is rare in the given training rows: a baseline that sees them would be right.
    frame = customers(600, 3)
    rare = write(house.as_task("rare"), "rare", frame[(frame.target == 0) | (frame.index % 5 == 0)])
    only = write(house.as_task("rare"), "only", frame[frame.target == 1])
    result, evaluation = house.evaluate("rare", dataset=only, training_dataset=rare)
    assert rare.uri in evaluation.baseline.fitted_on
    assert result.baseline["accuracy"] == 0
    shares = rare.arrow()["target"].to_pandas().value_counts(normalize=True)
    assert result.baseline["log_loss"] == pytest.approx(-np.log(shares[1]))
    # With one class, ranks have no meaning.
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
    (score,) = binary[1].fairness
    frame = house.test_frame
    output, _ = house.predicted(house.model, frame)
    both: dict[str, Any] = {"y_true": frame.target, "y_pred": output, "sensitive_features": frame.sex}
    assert score.column == "sex"
    assert score.metrics["demographic_parity_difference"] == pytest.approx(demographic_parity_difference(**both))
    assert score.metrics["equalized_odds_difference"] == pytest.approx(equalized_odds_difference(**both))
    assert score.intervals.keys() == score.metrics.keys()
    for name, (low, high) in score.intervals.items():
        assert low <= score.metrics[name] + 1e-9
        assert score.metrics[name] <= high + 1e-9
        assert low < high
    assert {name: group["rows"] for name, group in score.groups.items()} == frame.sex.value_counts().to_dict()


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


def test_a_profile_stands_in_for_training_rows_that_are_gone(house: House) -> None:
    workspace = house.as_task("gone")
    train = write(workspace, "train", customers(300, 8))
    model = house.register("gone", "target", "classification", LogisticRegression(), dataset=train, task_id="t-gone")
    uri = profile(train.table(), target="target").write(workspace.uri("profiles") + "/profile.json")
    models.set_tags(workspace.registry(), model, {tags.PROFILE_URI: uri})
    expected, _ = house.evaluate("gone", model=model)
    storage.delete(train.uri)
    result, evaluation = house.evaluate("gone", model=model)
    assert evaluation.baseline.fitted_on == f"the profile of the data, {uri}"
    assert result.baseline == pytest.approx(expected.baseline)
    storage.delete(uri)
    result, evaluation = house.evaluate("gone", model=model)
    assert "training data is not available" in evaluation.baseline.fitted_on
    assert result.baseline["log_loss"] == pytest.approx(np.log(2))


def test_a_retry_continues_the_run_and_gives_the_same_result(house: House) -> None:
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
        "evaluation.json",
        "example.parquet",
        "prediction_profile.json",
        "predictions.parquet",
    ]


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
