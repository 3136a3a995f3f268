"""The fairness measures for resamples against fairlearn's on the repeated rows, and their intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_mlops.lifecycle.evaluate.fairness import CLASSIFICATION, fairness
from airflow_provider_mlops.lifecycle.evaluate.fairness_scorer import resample_fairness
from airflow_provider_mlops.lifecycle.scoring.intervals import resample
from airflow_provider_mlops.lifecycle.scoring.metrics import ModelOutput
from airflow_provider_mlops.stats.intervals import bootstrap
from airflow_provider_mlops.stats.intervals.resampling import draw_counts


@settings(max_examples=12, deadline=None)
@given(st.integers(2, 40), st.integers(0, 4), st.integers(1, 4), st.integers(0, 10_000))
def test_measures_of_counted_rows_are_fairlearns_of_repeated_rows(
    rows: int, classes: int, groups: int, seed: int
) -> None:
    """Oracle: fairlearn. Zero or one classes stand for numbers."""
    problem: Any = "classification" if classes > 1 else "regression"
    generator = np.random.default_rng(seed)
    if classes > 1:
        truth, predicted = generator.integers(classes, size=rows), generator.integers(classes, size=rows)
    else:
        truth, predicted = generator.normal(size=rows), generator.normal(size=rows)  # type: ignore[assignment]
    labels = np.array(list("abcd"), dtype=object)[generator.integers(groups, size=rows)]
    drawn = resample_fairness(problem, truth, predicted, classes, labels, resamples=5, seed=seed)
    on_all_rows = fairness(problem, truth, predicted, classes, "group", labels).metrics
    assert drawn.estimates == pytest.approx(on_all_rows, abs=1e-12)

    generator = np.random.default_rng(seed)
    generator.choice(rows, min(rows, 300), replace=False)
    (counts,) = draw_counts(rows, rows, 5, generator)
    for position, of_rows in enumerate(counts.astype(int)):
        repeated = np.repeat(np.arange(rows), of_rows)
        expected = fairness(problem, truth[repeated], predicted[repeated], classes, "group", labels[repeated]).metrics
        for name, value in expected.items():
            if name in drawn.resamples:
                assert drawn.resamples[name][position] == pytest.approx(value, abs=1e-12), name


def test_the_resamples_are_those_of_the_metrics() -> None:
    generator = np.random.default_rng(1)
    truth, predicted = generator.integers(2, size=80), generator.integers(2, size=80)
    labels = np.array(["all but one"] * 79 + ["one"], dtype=object)
    # With one group for nearly all rows, its accuracy is the accuracy of all but that row.
    measures = resample_fairness("classification", truth, predicted, 2, labels, resamples=300, seed=3)
    metrics = resample("classification", truth, [ModelOutput(predicted)], 2, resamples=300, seed=3)[0]
    only = measures.resamples["accuracy_difference"] == 0
    assert 0.3 * 300 < only.sum() < 0.45 * 300
    hit = float(truth[-1] == predicted[-1])
    expected = np.abs(metrics.resamples["accuracy"] - hit)
    # The one row moves the accuracy of all by a few eightieths.
    assert np.abs(measures.resamples["accuracy_difference"] - expected)[~only].max() < 0.06


def test_the_interval_covers_a_difference_that_is_there() -> None:
    """150 samples of two groups selected at rates of 0.6 and 0.3, whose difference is 0.3."""
    generator = np.random.default_rng(5)
    covered = 0
    for seed in range(150):
        labels = np.array(["f", "m"], dtype=object)[generator.integers(2, size=300)]
        predicted = (generator.random(300) < np.where(labels == "f", 0.6, 0.3)).astype(np.int64)
        truth = generator.integers(2, size=300)
        drawn = resample_fairness("classification", truth, predicted, 2, labels, resamples=300, seed=seed)
        low, high = drawn.interval("demographic_parity_difference", 0.9)
        covered += low <= 0.3 <= high
    # Binomial(150, 0.9) has a deviation of 3.7: three of them either way.
    assert 124 <= covered <= 146


def test_many_rows_of_many_classes_and_groups_fit_into_memory() -> None:
    generator = np.random.default_rng(2)
    rows, classes = 30_000, 60
    truth = generator.integers(classes, size=rows)
    predicted = np.where(generator.random(rows) < 0.7, truth, generator.integers(classes, size=rows))
    labels = np.array([f"group {number}" for number in range(20)], dtype=object)[generator.integers(20, size=rows)]
    drawn = resample_fairness("classification", truth, predicted, classes, labels, resamples=100, seed=0)
    assert isinstance(drawn, bootstrap.ResampledMetrics)
    assert set(drawn.estimates) == set(CLASSIFICATION)
    low, high = drawn.interval("accuracy_difference", 0.95)
    assert low <= drawn.estimates["accuracy_difference"] <= high < low + 0.2
