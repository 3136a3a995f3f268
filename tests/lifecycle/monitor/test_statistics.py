"""The parts of monitoring that need no gateway: the choice of the metric, and the rate of false alarms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.monitor.performance import choose_metric, compare_performance
from airflow_provider_mlops.lifecycle.scoring.evaluation import Evaluation
from airflow_provider_mlops.lifecycle.scoring.metrics import METRICS, ModelOutput


def evaluation_of(
    problem: str, truth: np.ndarray, predictions: ModelOutput, classes: tuple[str, ...], metric: str
) -> Evaluation:
    """The evaluation that the evaluate step writes for these predictions."""
    from airflow_provider_mlops.lifecycle.scoring.intervals import resample

    drawn = resample(problem, truth, [predictions], len(classes), resamples=500, seed=1)[0]  # type: ignore[arg-type]
    # Only the fields that compare_performance reads.
    return Evaluation.model_construct(
        problem=problem,
        classes=classes,
        main_metric=metric,
        confidence=0.95,
        metrics=drawn.estimates,
        intervals=drawn.intervals(0.95),
    )


def classified(generator: np.random.Generator, rows: int, accuracy: float) -> tuple[np.ndarray, ModelOutput]:
    truth = generator.integers(2, size=rows)
    right = generator.random(rows) < accuracy
    value = np.where(right, truth, 1 - truth)
    confidence = generator.uniform(0.6, 0.95, rows)
    positive = np.where(value == 1, confidence, 1 - confidence)
    return truth, ModelOutput(value, np.stack([1 - positive, positive], axis=1))


@pytest.mark.parametrize("metric", ["accuracy", "roc_auc", "log_loss"])
@pytest.mark.parametrize("rows", [40, 300])
def test_without_a_change_false_alarms_of_performance_are_rare(metric: str, rows: int) -> None:
    """At a rate of 5 %, 100 windows of which each has its own evaluation: 12 or more has a probability below 0.5 %."""
    generator = np.random.default_rng(7)
    alarms = 0
    for repetition in range(100):
        reference = evaluation_of("classification", *classified(generator, 300, 0.85), ("no", "yes"), metric)
        performance = compare_performance(
            reference, METRICS[metric], *classified(generator, rows, 0.85), 0.05, seed=repetition
        )
        assert performance is not None
        alarms += performance.worse
    assert alarms < 12


@pytest.mark.parametrize("metric", ["accuracy", "roc_auc", "log_loss", "brier_score"])
def test_a_model_that_does_worse_is_detected(metric: str) -> None:
    generator = np.random.default_rng(3)
    reference = evaluation_of("classification", *classified(generator, 500, 0.9), ("no", "yes"), metric)
    performance = compare_performance(reference, METRICS[metric], *classified(generator, 200, 0.65), 0.003)
    assert performance is not None
    assert performance.worse
    assert performance.expected == reference.metrics[metric]


def test_a_model_that_does_better_raises_no_alarm() -> None:
    generator = np.random.default_rng(3)
    reference = evaluation_of("classification", *classified(generator, 500, 0.7), ("no", "yes"), "accuracy")
    performance = compare_performance(reference, METRICS["accuracy"], *classified(generator, 300, 0.95), 0.003)
    assert performance is not None
    assert not performance.worse


def test_growing_errors_and_a_bias_of_regression_are_detected() -> None:
    generator = np.random.default_rng(5)
    truth = generator.normal(100, 20, 500)
    reference = evaluation_of("regression", truth, ModelOutput(truth + generator.normal(0, 3, 500)), (), "rmse")
    later = generator.normal(100, 20, 200)
    worse = ModelOutput(later + generator.normal(0, 8, 200))
    biased = ModelOutput(later + 4 + generator.normal(0, 3, 200))
    for metric, predictions in (("rmse", worse), ("mae", worse), ("r2", worse), ("mean_error", biased)):
        performance = compare_performance(reference, METRICS[metric], later, predictions, 0.003)
        assert performance is not None
        assert performance.worse, metric


def test_labels_of_one_class_do_not_define_a_rank() -> None:
    generator = np.random.default_rng(3)
    reference = evaluation_of("classification", *classified(generator, 200, 0.9), ("no", "yes"), "roc_auc")
    _, predictions = classified(generator, 50, 0.9)
    assert compare_performance(reference, METRICS["roc_auc"], np.ones(50, dtype=np.int64), predictions, 0.01) is None


def test_the_metric_must_suit_the_problem_and_the_log() -> None:
    generator = np.random.default_rng(3)
    reference = evaluation_of("classification", *classified(generator, 200, 0.9), ("no", "yes"), "roc_auc")
    assert choose_metric(reference, None, True).name == "roc_auc"
    assert choose_metric(reference, None, False).name == "balanced_accuracy"
    assert choose_metric(reference, "f1", False).name == "f1"
    with pytest.raises(InvalidSpecError, match=r"performance_metric='rmse': .*for classification"):
        choose_metric(reference, "rmse", True)
    with pytest.raises(InvalidSpecError, match=r"performance_metric='log_loss'.*requires probabilities"):
        choose_metric(reference, "log_loss", False)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(30, 80))
def test_the_interval_holds_the_value(seed: int, rows: int) -> None:
    generator = np.random.default_rng(seed)
    reference = evaluation_of("classification", *classified(generator, 60, 0.8), ("no", "yes"), "accuracy")
    performance = compare_performance(reference, METRICS["accuracy"], *classified(generator, rows, 0.8), 0.01)
    assert performance is not None
    assert performance.interval[0] <= performance.value <= performance.interval[1]
    assert performance.change is not None
    assert performance.change[0] <= performance.value - reference.metrics["accuracy"] <= performance.change[1]


def test_without_an_interval_the_evaluation_is_taken_as_exact() -> None:
    generator = np.random.default_rng(3)
    reference = evaluation_of("classification", *classified(generator, 200, 0.8), ("no", "yes"), "accuracy")
    window = classified(generator, 100, 0.8)
    performance = compare_performance(
        reference.model_copy(update={"intervals": {}}), METRICS["accuracy"], *window, 0.025
    )
    assert performance is not None
    expected = reference.metrics["accuracy"]
    assert performance.change == pytest.approx((performance.interval[0] - expected, performance.interval[1] - expected))
