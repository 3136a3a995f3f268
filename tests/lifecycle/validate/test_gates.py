"""Gates on what was measured, each passing, failing and inconclusive, on real evaluations in the real MLflow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.scoring.evaluation import Evaluation, FairnessScore
from airflow_provider_mlops.lifecycle.validate.spec import ValidateResult
from airflow_provider_mlops.registry import promotion
from tests.helpers.models import customers, write
from tests.helpers.validation import ALL, Arena


def test_a_limit_passes_fails_or_is_inconclusive(arena: Arena, uris: dict[str, str]) -> None:
    evaluation = Evaluation.read(uris["alone"])
    value, (low, high) = evaluation.metrics["accuracy"], evaluation.intervals["accuracy"]
    for limits, verdict in (
        ({"min_value": value}, "approved"),
        ({"min_value": value + 1e-6}, "rejected"),
        ({"max_value": value - 1e-6}, "rejected"),
        ({"min_value": 0.5, "max_value": 1}, "approved"),
        ({"min_value": low, "certain": True}, "approved"),
        ({"min_value": low + 1e-6, "certain": True}, "inconclusive"),
        ({"max_value": high - 1e-6, "certain": True}, "inconclusive"),
        ({"min_value": high + 1e-6, "certain": True}, "rejected"),
        ({"max_value": low - 1e-6, "certain": True}, "rejected"),
    ):
        gate = {"kind": "limit", "metric": "accuracy", **limits}
        assert arena.validate("limit", arena.alone, uris["alone"], gate).verdict == verdict, limits


def test_the_champion_gate_is_a_test_of_non_inferiority(arena: Arena, uris: dict[str, str]) -> None:
    result = arena.validate("champion", arena.better, uris["better"], {"kind": "champion"})
    assert (result.verdict, result.champion_version) == ("approved", arena.champion.version)
    assert "for the champion, version 1: a gain of" in result.reasons["champion"]
    result = arena.validate("champion", arena.worse, uris["worse"], {"kind": "champion"})
    assert result.verdict == "rejected"
    # Worse by 0.25 or more, but the margin allows it.
    assert (
        arena.validate("champion", arena.worse, uris["worse"], {"kind": "champion", "margin": 0.6}).verdict
        == "approved"
    )
    # Required to be better by a margin: certain, certainly not, and undecided.
    gain = json.loads(
        _validation(arena, arena.validate("champion", arena.better, uris["better"], {"kind": "champion"}))
    )["gates"][0]["values"]
    for margin, verdict in ((-0.01, "approved"), (-gain["gain"], "inconclusive"), (-0.9, "rejected")):
        gate = {"kind": "champion", "margin": margin}
        assert arena.validate("champion", arena.better, uris["better"], gate).verdict == verdict, margin
    # Nearly the same model: the margin must be wide enough for the number of rows.
    for margin, verdict in ((0.05, "approved"), (0.0, "inconclusive")):
        gate = {"kind": "champion", "metric": "balanced_accuracy", "margin": margin}
        assert arena.validate("champion", arena.same, uris["same"], gate).verdict == verdict, margin
    # A loss is better if it is lower.
    for metric in ("log_loss", "brier_score"):
        gate = {"kind": "champion", "metric": metric, "margin": 0}
        assert arena.validate("champion", arena.better, uris["better"], gate).verdict == "approved"
        assert arena.validate("champion", arena.worse, uris["worse"], gate).verdict == "rejected"
    few = arena.validate("champion", arena.better, uris["better"], {"kind": "champion", "min_rows": 601})
    assert few.reasons["champion"] == "inconclusive: the evaluation has 600 test rows, required at least 601"
    itself = arena.validate("champion", arena.champion, uris["champion"], {"kind": "champion"}, {"kind": "signature"})
    assert set(itself.reasons.values()) == {"passed: version 1 is the champion itself"}


def test_a_champion_that_moved_or_cannot_answer_is_inconclusive(arena: Arena, uris: dict[str, str]) -> None:
    old = arena.register("moving", ("age", "region"))
    new = arena.register("moving", ALL)
    uri = arena.evaluated(new, "e-moving")
    registry = arena.workspace.registry()
    promotion.promote(registry, old, expected=None, by=arena.workspace.task, reason="after the evaluation")
    result = arena.validate("moving", new, uri, {"kind": "champion"}, {"kind": "slice"})
    assert result.verdict == "inconclusive"
    assert result.reasons["champion"].startswith("inconclusive: no version was champion during the evaluation")
    assert "Run the evaluate step again" in result.reasons["champion"]
    narrow = write(arena.as_task("moving"), "narrow", customers(200, 5).drop(columns="region"))
    third = arena.register("moving", ("age", "income"))
    uri = arena.evaluated(third, "e-moving", dataset=narrow)
    result = arena.validate("moving", third, uri, {"kind": "champion"})
    assert result.reasons["champion"].startswith("inconclusive: the champion, version 1, cannot be compared")
    assert "'region'" in result.reasons["champion"]
    assert result.champion_version == 1


def test_the_baseline_gate_requires_a_gain(arena: Arena, uris: dict[str, str]) -> None:
    assert arena.validate("baseline", arena.alone, uris["alone"], {"kind": "baseline"}).verdict == "approved"
    trivial = arena.register("trivial", ("region",), DummyClassifier(strategy="prior"))
    uri = arena.evaluated(trivial, "e-trivial")
    result = arena.validate("baseline", trivial, uri, {"kind": "baseline"})
    # Exactly as good as the baseline is not better, and the rows leave no doubt about that.
    assert result.verdict == "rejected"
    assert (
        arena.validate("baseline", arena.alone, uris["alone"], {"kind": "baseline", "gain": 0.49}).verdict == "rejected"
    )
    gain = Evaluation.read(uris["alone"]).metrics["roc_auc"] - 0.5
    assert (
        arena.validate("baseline", arena.alone, uris["alone"], {"kind": "baseline", "gain": gain}).verdict
        == "inconclusive"
    )


def test_the_slice_gate_finds_slices_that_are_worse(arena: Arena, uris: dict[str, str]) -> None:
    champion = {"kind": "slice", "metric": "accuracy", "margin": 0.02, "columns": ["region"]}
    assert arena.validate("slice", arena.better, uris["better"], champion).verdict == "approved"
    result = arena.validate("slice", arena.worse, uris["worse"], champion)
    assert result.verdict == "rejected"
    assert "region = north by 0." in result.reasons["slice accuracy"]
    assert arena.validate("slice", arena.alone, uris["alone"], champion).reasons["slice accuracy"] == (
        "passed: there is no champion yet, so there is nothing to compare with"
    )
    # West has about 60 rows of 600.
    few = {**champion, "min_rows": 100}
    result = arena.validate("slice", arena.better, uris["better"], few)
    assert result.verdict == "inconclusive"
    assert "region = west" in result.reasons["slice accuracy"]
    assert (
        arena.validate("slice", arena.better, uris["better"], {**few, "small_slices": "ignore"}).verdict == "approved"
    )
    none = {**few, "min_rows": 1000, "small_slices": "ignore"}
    assert arena.validate("slice", arena.better, uris["better"], none).verdict == "inconclusive"
    # Within a quarter of the ages, the model ranks worse than over all ages.
    overall = {"kind": "slice", "metric": "roc_auc", "against": "overall", "columns": ["age"]}
    assert arena.validate("slice", arena.alone, uris["alone"], {**overall, "margin": 0.9}).verdict == "approved"
    by_age = [p.metrics["roc_auc"] for p in Evaluation.read(uris["alone"]).slices if p.column == "age"]
    worst = Evaluation.read(uris["alone"]).metrics["roc_auc"] - min(by_age)
    result = arena.validate("slice", arena.alone, uris["alone"], {**overall, "margin": worst - 0.001})
    assert result.verdict in ("rejected", "inconclusive")
    assert (
        arena.validate("slice", arena.alone, uris["alone"], {**overall, "margin": worst + 0.001}).verdict == "approved"
    )
    assert arena.validate("slice", arena.same, uris["same"], {"kind": "slice"}).reasons["slice"] == (
        "inconclusive: the evaluation has no slices. Set slices in the evaluate step"
    )


def test_the_fairness_gate_limits_a_measure(arena: Arena, uris: dict[str, str]) -> None:
    evaluation = Evaluation.read(uris["alone"])
    scores = {score.column: score.metrics for score in evaluation.fairness}
    value = scores["sex"]["demographic_parity_difference"]
    base = {"kind": "fairness", "columns": ["sex"]}
    name = "fairness demographic_parity_difference"
    for limits, verdict in (
        ({"max_value": value + 1e-9}, "approved"),
        ({"max_value": value - 1e-9}, "rejected"),
        ({"max_value": 1, "min_rows": 400}, "inconclusive"),
        ({"metric": "equalized_odds_ratio", "min_value": scores["sex"]["equalized_odds_ratio"] + 1e-9}, "rejected"),
        ({"metric": "equalized_odds_ratio", "min_value": 0.01}, "approved"),
    ):
        assert arena.validate("fair", arena.alone, uris["alone"], {**base, **limits}).verdict == verdict, limits
    low, high = next(s for s in evaluation.fairness if s.column == "sex").intervals["demographic_parity_difference"]
    assert low < value < high
    for limits, verdict in (
        ({"max_value": high + 1e-9}, "approved"),
        ({"max_value": value + 1e-9}, "inconclusive"),
        ({"max_value": value - 1e-9}, "inconclusive"),
        ({"max_value": low - 1e-9}, "rejected"),
        ({"min_value": value}, "inconclusive"),
    ):
        result = arena.validate("fair", arena.alone, uris["alone"], {**base, **limits, "certain": True})
        assert result.verdict == verdict, limits
        assert "interval" in result.reasons[name]
    small = arena.validate("fair", arena.alone, uris["alone"], {**base, "max_value": 1, "min_rows": 400})
    assert "sex (too few rows in f, m)" in small.reasons[name]
    both = arena.validate("fair", arena.alone, uris["alone"], {"kind": "fairness", "max_value": 0.9})
    assert "for sex" in both.reasons[name]
    assert "for region" in both.reasons[name]
    none = arena.validate("fair", arena.same, uris["same"], {"kind": "fairness", "max_value": 1})
    assert none.verdict == "inconclusive"


def test_error_rates_of_a_group_with_one_class_are_not_judged(arena: Arena, uris: dict[str, str]) -> None:
    evaluation = Evaluation.read(uris["alone"])
    (sex, *_) = evaluation.fairness
    groups = {**sex.groups, "m": {**sex.groups["m"], "rarest_class_rows": 0}}
    changed = evaluation.model_copy(
        update={"fairness": (FairnessScore(column="sex", metrics=sex.metrics, groups=groups),)}
    )
    uri = arena.as_task("one-class").uri("evaluations") + "/evaluation.json"
    changed.write(uri)
    gate = {"kind": "fairness", "max_value": 1, "metric": "equalized_odds_difference"}
    assert arena.validate("one-class", arena.alone, uri, gate).verdict == "inconclusive"
    gate = {"kind": "fairness", "max_value": 1, "metric": "demographic_parity_difference"}
    assert arena.validate("one-class", arena.alone, uri, gate).verdict == "approved"
    # An evaluation without intervals cannot make a gate certain.
    without = arena.validate("one-class", arena.alone, uri, {**gate, "certain": True})
    assert without.verdict == "inconclusive"
    assert "no interval: run the evaluate step again" in next(iter(without.reasons.values()))


def test_gates_also_judge_regression_models(arena: Arena) -> None:
    options: dict[str, Any] = {"target": "spend", "problem": "regression", "estimator": LinearRegression()}
    old = arena.register("spend", ("age",), **options)
    new = arena.register("spend", ("age", "income"), **options)
    promotion.promote(arena.workspace.registry(), old, expected=None, by=arena.workspace.task, reason="the first")
    uri = arena.evaluated(new, "e-spend", target="spend", slices=("region",), sensitive=("sex",))
    gates = (
        {"kind": "champion"},
        {"kind": "champion", "metric": "rmse", "margin": 0},
        {"kind": "baseline"},
        {"kind": "slice", "metric": "mae", "margin": 1},
        {"kind": "limit", "metric": "mae", "max_value": 30},
        {"kind": "fairness", "metric": "mae_difference", "max_value": 20},
    )
    result = arena.validate("spend", new, uri, *gates)
    assert result.verdict == "approved", result.reasons
    assert "r2 is" in result.reasons["champion"]
    with pytest.raises(
        InvalidSpecError, match=r"gates.metric='accuracy': the evaluation of this regression model .*Use one of rmse"
    ):
        arena.validate("spend", new, uri, {"kind": "limit", "metric": "accuracy", "min_value": 0})


def test_equal_models_are_compared_on_paired_rows(arena: Arena, uris: dict[str, str]) -> None:
    # The champion registered again as another version: every paired difference is zero, so no margin is needed.
    twin = arena.register("duel", ("age", "region"))
    uri = arena.evaluated(twin, "e-twin", slices=("region",))
    gates = ({"kind": "champion", "margin": 0}, {"kind": "slice", "margin": 0, "metric": "log_loss"})
    result = arena.validate("twin", twin, uri, *gates)
    assert result.verdict == "approved"
    values = json.loads(_validation(arena, result))["gates"][0]["values"]
    assert np.isclose([values["gain"], values["low"], values["high"]], 0).all()


def _validation(arena: Arena, result: ValidateResult) -> str:
    client = arena.workspace.registry().client
    return Path(client.download_artifacts(result.mlflow_run_id, "validation.json")).read_text()
