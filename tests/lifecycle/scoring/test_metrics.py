"""The metrics against scikit-learn, and the intervals against other methods, coverage and each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from airflow_provider_mlops.errors import FieldError
from airflow_provider_mlops.lifecycle.evaluate.fairness import check_fairness_name, fairness
from airflow_provider_mlops.lifecycle.evaluate.slices import MISSING, OTHER, by_group, group_labels
from airflow_provider_mlops.lifecycle.scoring.intervals import difference, resample
from airflow_provider_mlops.lifecycle.scoring.metrics import METRICS, ModelOutput, main_metric
from airflow_provider_mlops.lifecycle.scoring.scorers import score, scorer
from airflow_provider_mlops.stats.estimates.calibration import expected_calibration_error
from airflow_provider_mlops.stats.paired.delong import delong_test


def classified(rows: int, classes: int, seed: int, digits: int = 2) -> tuple[np.ndarray[Any, Any], ModelOutput]:
    """Random truth and predictions that know something of it; probabilities are rounded, so that there are ties."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(classes, size=rows)
    raw = generator.dirichlet(np.ones(classes), rows) + 0.6 * np.eye(classes)[truth] * generator.random((rows, 1))
    probability = np.round(raw / raw.sum(axis=1, keepdims=True), digits) + 10.0**-digits
    probability /= probability.sum(axis=1, keepdims=True)
    return truth, ModelOutput(probability.argmax(axis=1), probability)


def of_scikit_learn(truth: Any, model: ModelOutput, classes: int) -> dict[str, float]:
    average: Any = "binary" if classes == 2 else "macro"
    value, probability = model.value, model.probability
    assert probability is not None
    ranked = probability[:, 1] if classes == 2 else probability
    labels = list(range(classes))
    return {
        "accuracy": oracle.accuracy_score(truth, value),
        "balanced_accuracy": oracle.balanced_accuracy_score(truth, value),
        "precision": oracle.precision_score(truth, value, average=average, zero_division=0),
        "recall": oracle.recall_score(truth, value, average=average, zero_division=0),
        "f1": oracle.f1_score(truth, value, average=average, zero_division=0),
        "matthews_correlation": oracle.matthews_corrcoef(truth, value),
        "roc_auc": oracle.roc_auc_score(truth, ranked, multi_class="ovr"),
        "average_precision": oracle.average_precision_score(truth, ranked),
        "log_loss": oracle.log_loss(truth, probability, labels=labels),
        "brier_score": float(
            np.mean(((probability - np.eye(classes)[truth]) ** 2).sum(axis=1)) / (2 if classes == 2 else 1)
        ),
        "calibration_error": expected_calibration_error(truth == 1, probability[:, 1])
        if classes == 2
        else expected_calibration_error(value == truth, probability.max(axis=1)),
    }


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_classification_metrics_are_those_of_scikit_learn(classes: int) -> None:
    truth, model = classified(400, classes, seed=classes)
    expected = of_scikit_learn(truth, model, classes)
    metrics = score("classification", truth, model, classes)
    assert metrics == pytest.approx(expected, abs=1e-12)
    assert set(metrics) == {name for name, metric in METRICS.items() if metric.problem == "classification"}


def test_regression_metrics_are_those_of_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    for rows in (300, 301):
        # Far from zero, where naive sums of squares lose all digits.
        truth = generator.normal(1e6, 3, rows)
        model = ModelOutput(truth + generator.normal(0.4, 1, rows))
        assert score("regression", truth, model) == pytest.approx(
            {
                "rmse": oracle.root_mean_squared_error(truth, model.value),
                "mae": oracle.mean_absolute_error(truth, model.value),
                "median_absolute_error": oracle.median_absolute_error(truth, model.value),
                "r2": oracle.r2_score(truth, model.value),
                "mean_error": float(np.mean(model.value - truth)),
            },
            rel=1e-9,
        )


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 60), st.integers(2, 4), st.integers(0, 10_000))
def test_counts_of_rows_say_what_repeated_rows_say(rows: int, classes: int, seed: int) -> None:
    truth, model = classified(rows, classes, seed, digits=1)
    chosen = np.random.default_rng(seed).integers(rows, size=rows)
    counts = np.bincount(chosen, minlength=rows)[None, :].astype(float)
    weighted = scorer("classification", truth, model, classes)(counts)
    repeated = score("classification", truth[chosen], model.take(chosen), classes)
    for name, value in repeated.items():
        assert weighted[name][0] == pytest.approx(value, abs=1e-9), name
    assert {name for name, value in weighted.items() if np.isfinite(value[0])} == set(repeated)

    numbers = truth + np.random.default_rng(seed).normal(size=rows)
    guesses = ModelOutput(numbers + np.random.default_rng(seed + 1).normal(size=rows))
    weighted = scorer("regression", numbers, guesses)(counts)
    for name, value in score("regression", numbers[chosen], guesses.take(chosen)).items():
        assert weighted[name][0] == pytest.approx(value, abs=1e-7, rel=1e-7), name


def test_what_the_rows_do_not_define_is_left_out() -> None:
    truth, model = np.zeros(20, dtype=np.int64), classified(20, 2, 1)[1]
    assert {"roc_auc", "average_precision"}.isdisjoint(score("classification", truth, model, 2))
    assert "r2" not in score("regression", np.full(10, 3.7), ModelOutput(np.linspace(3, 4, 10)))
    assert {"roc_auc", "log_loss"}.isdisjoint(score("classification", truth, ModelOutput(model.value), 2))


def test_a_thousand_classes_fit_into_memory() -> None:
    # A confusion matrix for each of the resamples would be 8 GB.
    generator = np.random.default_rng(0)
    truth = generator.integers(1000, size=3000)
    guesses = ModelOutput(np.where(generator.random(3000) < 0.7, truth, generator.integers(1000, size=3000)))
    drawn = resample("classification", truth, [guesses], 1000, resamples=1000, seed=0)[0]
    low, high = drawn.intervals(0.95)["accuracy"]
    assert low < 0.7 < high
    assert drawn.estimates["matthews_correlation"] == pytest.approx(oracle.matthews_corrcoef(truth, guesses.value))


def test_the_main_metric_is_one_that_is_there() -> None:
    assert main_metric("classification", {"roc_auc": 1, "accuracy": 1}).name == "roc_auc"
    assert main_metric("classification", {"accuracy": 1, "balanced_accuracy": 1}).name == "balanced_accuracy"
    assert main_metric("regression", {"r2": 1, "rmse": 1}).name == "r2"
    assert main_metric("regression", {"rmse": 1}).name == "rmse"


def test_intervals_are_those_of_scipys_bootstrap_of_one_metric_at_a_time() -> None:
    truth, model = classified(250, 2, seed=5)
    intervals = resample("classification", truth, [model], 2, resamples=4000, seed=1)[0].intervals(0.9)
    for name in ("roc_auc", "f1", "log_loss", "brier_score"):
        alone = scipy.stats.bootstrap(
            (np.arange(250),),
            lambda rows, name=name: score("classification", truth[rows], model.take(rows), 2)[name],
            vectorized=False,
            n_resamples=2000,
            confidence_level=0.9,
            method="BCa",
            random_state=np.random.default_rng(2),
        ).confidence_interval
        assert intervals[name] == pytest.approx((alone.low, alone.high), abs=0.1 * (alone.high - alone.low)), name


def test_intervals_cover_as_often_as_they_say() -> None:
    # 200 samples of 150 rows, of which the truth is known: accuracy 0.8, mean absolute error sqrt(2/pi).
    generator = np.random.default_rng(7)
    hits = {"accuracy": 0, "mae": 0}
    for repetition in range(200):
        truth = generator.integers(2, size=150)
        right = generator.random(150) < 0.8
        classes = ModelOutput(np.where(right, truth, 1 - truth))
        numbers = ModelOutput(generator.normal(size=150))
        for name, drawn in (
            ("accuracy", resample("classification", truth, [classes], 2, resamples=300, seed=repetition)[0]),
            ("mae", resample("regression", np.zeros(150), [numbers], 0, resamples=300, seed=repetition)[0]),
        ):
            low, high = drawn.intervals(0.9)[name]
            hits[name] += low <= {"accuracy": 0.8, "mae": float(np.sqrt(2 / np.pi))}[name] <= high
    # Binomial(200, 0.9) has a deviation of 4.2: three of them either way.
    assert 167 <= hits["accuracy"] <= 193
    assert 167 <= hits["mae"] <= 193


def test_many_rows_are_resampled_from_subsets_with_intervals_as_wide() -> None:
    generator = np.random.default_rng(3)
    rows = 40_000
    truth = generator.integers(2, size=rows)
    ranked = generator.normal(size=rows) + truth
    probability = 1 / (1 + np.exp(1 - 2 * ranked))
    model = ModelOutput((probability > 0.5).astype(np.int64), np.column_stack([1 - probability, probability]))
    low, high = resample("classification", truth, [model], 2, resamples=1000, seed=0)[0].intervals(0.95)["roc_auc"]
    area = delong_test(truth == 1, ranked, generator.normal(size=rows))
    # DeLong's standard error of the one area, from the variance of its difference to an independent score of no use.
    useless = 1 / 12 * (1 / truth.sum() + 1 / (rows - truth.sum()))
    error = float(np.sqrt(area.standard_error**2 - useless))
    assert low < area.candidate_auc < high
    assert (high - low) / (2 * 1.96 * error) == pytest.approx(1, abs=0.2)


def test_a_paired_difference_has_the_interval_that_delong_gives() -> None:
    generator = np.random.default_rng(3)
    truth = generator.integers(2, size=400)
    first = generator.normal(size=400) + 1.5 * truth
    second = first + generator.normal(0, 0.8, 400)

    def model(ranked: Any) -> ModelOutput:
        probability = 1 / (1 + np.exp(-ranked))
        return ModelOutput((probability > 0.5).astype(np.int64), np.column_stack([1 - probability, probability]))

    drawn = resample("classification", truth, [model(first), model(second)], 2, resamples=4000, seed=0)
    gain, ends = difference(METRICS["roc_auc"], drawn[0], drawn[1], 0.95)
    known = delong_test(truth == 1, first, second)
    assert gain == pytest.approx(known.gain, abs=1e-12)
    assert ends == pytest.approx((known.low, known.high), abs=0.15 * (known.high - known.low))
    # The pairing is what makes it narrow.
    alone = drawn[0].intervals(0.95)["roc_auc"]
    assert ends[1] - ends[0] < alone[1] - alone[0] + 0.02
    lost, _ = difference(METRICS["log_loss"], drawn[0], drawn[1], 0.95)
    assert lost == pytest.approx(drawn[1].estimates["log_loss"] - drawn[0].estimates["log_loss"])


def test_the_same_seed_gives_the_same_intervals() -> None:
    truth, model = classified(100, 3, seed=1)
    one, same, other = (
        resample("classification", truth, [model], 3, resamples=200, seed=seed)[0].intervals(0.95) for seed in (4, 4, 5)
    )
    assert one == same
    assert one != other


def test_groups_of_columns() -> None:
    numbers = pd.Series(np.r_[np.arange(100.0), [np.nan] * 3])
    labels = group_labels(numbers)
    assert (labels == MISSING).sum() == 3
    assert pd.Series(labels).value_counts().to_dict() == {
        "0 to 24.75": 25,
        "24.75 to 49.5": 25,
        "49.5 to 74.25": 25,
        "74.25 to 99": 25,
        MISSING: 3,
    }
    assert set(group_labels(pd.Series([1, 2, 2, 3]))) == {"1", "2", "3"}
    assert set(group_labels(pd.Series([True, False]))) == {"True", "False"}
    many = group_labels(pd.Series([f"city {number % 50}" for number in range(500)] + ["big"] * 100))
    assert len(set(many)) == 21
    assert (many == OTHER).sum() == 310
    assert (many == "big").sum() == 100
    days = pd.Series(pd.date_range("2026-01-01", periods=100, freq="D"))
    assert sorted(set(group_labels(days)))[0] == "2026-01-01 to 2026-01-25"
    # Nine tenths are one value: the quartiles coincide, and still every row has a group.
    skewed = group_labels(pd.Series([0.0] * 180 + list(np.linspace(1, 2, 20))))
    assert len(skewed) == 200
    assert MISSING not in skewed
    close = group_labels(pd.Series(1e6 + np.arange(40) / 1000))
    assert len(set(close)) == 4


def test_metrics_by_group_are_those_of_the_groups_rows() -> None:
    truth, model = classified(300, 2, seed=9)
    labels = np.array(list("abc"), dtype=object)[np.arange(300) % 3]
    metrics = by_group("classification", truth, model, 2, labels)
    for group in "abc":
        rows = np.flatnonzero(labels == group)
        assert metrics[group] == pytest.approx(of_scikit_learn(truth[rows], model.take(rows), 2), abs=1e-12)


def test_fairness_of_two_groups_by_hand() -> None:
    # Group f: 4 of 8 predicted positive, 3 of 4 positives measured. Group m: 2 of 8, 1 of 4.
    truth = np.array([1, 1, 1, 1, 0, 0, 0, 0] * 2)
    predicted = np.array([1, 1, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0])
    groups = np.array(["f"] * 8 + ["m"] * 8, dtype=object)
    measured = fairness("classification", truth, predicted, 2, "sex", groups)
    assert measured.metrics == pytest.approx(
        {
            "demographic_parity_difference": 0.25,
            "demographic_parity_ratio": 0.5,
            "equalized_odds_difference": 0.5,
            "equalized_odds_ratio": 1 / 3,
            "equal_opportunity_difference": 0.5,
            "accuracy_difference": 0.25,
        }
    )
    assert measured.groups["f"]["true_positive_rate"] == 0.75
    assert measured.groups["m"] == pytest.approx(
        {
            "rows": 8,
            "accuracy": 0.5,
            "rarest_class_rows": 4,
            "selection_rate": 0.25,
            "true_positive_rate": 0.25,
            "false_positive_rate": 0.25,
        }
    )


def test_fairness_with_more_classes_is_that_of_the_worst() -> None:
    truth = np.array([0, 1, 2] * 20)
    predicted = truth.copy()
    groups = np.array(["f", "m"] * 30, dtype=object)
    assert fairness("classification", truth, predicted, 3, "sex", groups).metrics["equalized_odds_difference"] == 0
    predicted[(groups == "f") & (truth == 2)] = 1
    measured = fairness("classification", truth, predicted, 3, "sex", groups).metrics
    assert measured["equal_opportunity_difference"] == 1
    assert measured["demographic_parity_difference"] == pytest.approx(1 / 3)


def test_fairness_of_numbers() -> None:
    truth = np.array([1.0, 2.0, 3.0, 4.0])
    measured = fairness(
        "regression", truth, np.array([2.0, 3.0, 3.0, 3.0]), 0, "sex", np.array(list("ffmm"), dtype=object)
    )
    assert measured.metrics == pytest.approx(
        {"mean_prediction_difference": 0.5, "mean_error_difference": 1.5, "mae_difference": 0.5}
    )


def test_an_unknown_measure_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(FieldError, match="Did you mean 'demographic_parity_difference'"):
        check_fairness_name("demographic_party_difference")
