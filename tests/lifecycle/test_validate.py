"""The step validate: every gate passing, failing and inconclusive, on real evaluations in the real MLflow."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.data.lineage import TaskIdentity
from airflow_provider_mlops.errors import InvalidSpecError, RejectedError
from airflow_provider_mlops.lifecycle.evaluate import EvaluateSpec, evaluate
from airflow_provider_mlops.lifecycle.evaluation import Evaluation, FairnessScore
from airflow_provider_mlops.lifecycle.result_size import RESULT_BYTES
from airflow_provider_mlops.lifecycle.validate import STEP, ValidateResult, ValidateSpec, validate
from airflow_provider_mlops.lifecycle.validate_gates import DEFAULT_GATES
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.registry import models, promotion, registration, tags
from airflow_provider_mlops.registry.model_version import ModelVersion
from tests.lifecycle.models_in_test import customers, register, write

ALL = ("age", "income", "region")


class Arena:
    """A storage with a champion and versions that are evaluated against it."""

    def __init__(self, directory: Path) -> None:
        task = TaskIdentity(dag_id="churn", run_id="manual__1", task_id="train", owner="ada")
        self.workspace = Workspace(storage_uri=str(directory), task=task)
        self.train = write(self.workspace, "train", customers(800, 1))
        self.test = write(self.workspace, "test", customers(600, 2))
        self.alone = self.register("alone", ALL)
        self.champion = self.register("duel", ("age", "region"))
        promotion.promote(
            self.workspace.registry(), self.champion, expected=None, by=self.workspace.task, reason="the first"
        )
        self.better = self.register("duel", ALL)
        self.worse = self.register("duel", ("region",))
        self.same = self.register("duel", ("age",))

    def register(self, name: str, features: tuple[str, ...], estimator: Any = None, **options: Any) -> ModelVersion:
        options = {"dataset": self.train, "target": "target", "problem": "classification", **options}
        return register(
            self.workspace,
            name,
            features=features,
            estimator=estimator or LogisticRegression(),
            task_id=f"train-{name}-{'-'.join(features)}",
            **options,
        )

    def as_task(self, task_id: str) -> Workspace:
        return self.workspace.model_copy(update={"task": self.workspace.task.model_copy(update={"task_id": task_id})})

    def evaluated(self, model: ModelVersion, task_id: str, **fields: Any) -> str:
        fields = {"dataset": self.test, "target": "target", "resamples": 300, **fields}
        return evaluate(EvaluateSpec(model=model, **fields), self.as_task(task_id)).evaluation_uri

    def validate(self, task_id: str, model: ModelVersion, uri: str, *gates: Any, **fields: Any) -> ValidateResult:
        fields = {"on_reject": "skip", "on_inconclusive": "skip", **fields}
        spec = STEP.parse({"model": model, "evaluation_uri": uri, **({"gates": gates} if gates else {}), **fields})
        return validate(spec, self.as_task(task_id))

    def aliases(self, name: str) -> dict[str, int]:
        return models.aliases(self.workspace.registry(), name)


@pytest.fixture(scope="module")
def arena(tmp_path_factory: pytest.TempPathFactory, mlflow_database: Path) -> Arena:
    directory = tmp_path_factory.mktemp("validate")
    shutil.copy(mlflow_database, directory / "mlflow.db")
    return Arena(directory)


@pytest.fixture(scope="module")
def uris(arena: Arena) -> dict[str, str]:
    """The evaluation of each version."""
    grouped: dict[str, Any] = {"slices": ("region", "age"), "sensitive": ("sex", "region")}
    return {
        "alone": arena.evaluated(arena.alone, "e-alone", **grouped),
        "better": arena.evaluated(arena.better, "e-better", **grouped),
        "worse": arena.evaluated(arena.worse, "e-worse", **grouped),
        "same": arena.evaluated(arena.same, "e-same"),
        "champion": arena.evaluated(arena.champion, "e-champion"),
    }


def test_a_first_version_passes_the_default_gates_and_becomes_challenger(arena: Arena, uris: dict[str, str]) -> None:
    result = arena.validate("first", arena.alone, uris["alone"])
    assert result.verdict == "approved"
    assert set(result.reasons) == {"baseline", "champion", "signature", "infrastructure", "size", "latency"}
    assert result.reasons["champion"] == "passed: there is no champion yet to compare with"
    assert result.reasons["signature"] == "passed: there is no champion yet to be compatible with"
    assert "answered 15 rows as recorded" in result.reasons["infrastructure"]
    assert result.champion_version is None
    assert arena.aliases("alone") == {"challenger": arena.alone.version}

    registry = arena.workspace.registry()
    version_tags = models.tags(registry, arena.alone)
    assert version_tags[tags.VERDICT] == "approved"
    assert version_tags["mlops.gate.size"].startswith("passed: the packaged model has 0.0")
    run = registry.client.get_run(result.mlflow_run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags[tags.VERDICT] == "approved"
    assert 0 < run.data.metrics["latency/p50_ms"] <= run.data.metrics["latency/p95_ms"] < 200
    assert 0.01 < run.data.metrics["size/megabytes"] < 5
    assert run.data.metrics["infrastructure/peak_megabytes"] > 50
    assert {item.path for item in registry.client.list_artifacts(result.mlflow_run_id)} == {
        "reports",
        "validation.json",
    }
    html = storage.read_text(result.report_uri)
    assert "approved" in html
    assert "Of 6 gates: 6 passed." in html

    # A retry says the same in the same run; other gates next time leave no tag of the old ones.
    again = arena.validate("first", arena.alone, uris["alone"], {"kind": "size"})
    assert again.mlflow_run_id == result.mlflow_run_id
    assert {name for name in models.tags(registry, arena.alone) if name.startswith("mlops.gate.")} == {
        "mlops.gate.size"
    }


def test_a_version_that_is_no_longer_approved_is_no_longer_challenger(arena: Arena, uris: dict[str, str]) -> None:
    version = arena.register("fallen", ALL)
    uri = arena.evaluated(version, "e-fallen")
    assert arena.validate("fallen", version, uri, {"kind": "baseline"}).verdict == "approved"
    assert arena.aliases("fallen") == {"challenger": version.version}
    strict = {"kind": "limit", "metric": "accuracy", "minimum": 0.999}
    assert arena.validate("fallen", version, uri, strict).verdict == "rejected"
    assert arena.aliases("fallen") == {}
    assert models.tags(arena.workspace.registry(), version)[tags.VERDICT] == "rejected"


def test_rejection_fails_the_step_after_it_is_written_down(arena: Arena, uris: dict[str, str]) -> None:
    gates = (
        {"kind": "limit", "metric": "accuracy", "minimum": 0.999},
        {"kind": "champion"},
        {"kind": "limit", "metric": "log_loss", "maximum": 10},
    )
    with pytest.raises(RejectedError, match=r"^duel version 3 is rejected\. limit accuracy: accuracy is 0\.") as raised:
        arena.validate("fails", arena.worse, uris["worse"], *gates, on_reject="fail")
    assert "champion: roc_auc is" in str(raised.value)
    assert "log_loss" not in str(raised.value)
    registry = arena.workspace.registry()
    assert models.tags(registry, arena.worse)[tags.VERDICT] == "rejected"
    (run,) = registry.client.search_runs([registry.experiment("churn")], "tags.`mlops.task_id` = 'fails'")
    assert run.data.tags[tags.VERDICT] == "rejected"
    assert run.info.status == "FINISHED"
    assert "challenger" not in arena.aliases("duel") or arena.aliases("duel")["challenger"] != arena.worse.version
    with pytest.raises(RejectedError, match="is inconclusive"):
        arena.validate("unsure", arena.same, uris["same"], {"kind": "slice"}, on_inconclusive="fail")
    # Each verdict has its own say.
    assert (
        arena.validate("unsure", arena.same, uris["same"], {"kind": "slice"}, on_reject="fail").verdict
        == "inconclusive"
    )


def test_limit(arena: Arena, uris: dict[str, str]) -> None:
    evaluation = Evaluation.read(uris["alone"])
    value, (low, high) = evaluation.metrics["accuracy"], evaluation.intervals["accuracy"]
    for limits, verdict in (
        ({"minimum": value}, "approved"),
        ({"minimum": value + 1e-6}, "rejected"),
        ({"maximum": value - 1e-6}, "rejected"),
        ({"minimum": 0.5, "maximum": 1}, "approved"),
        ({"minimum": low, "certain": True}, "approved"),
        ({"minimum": low + 1e-6, "certain": True}, "inconclusive"),
        ({"maximum": high - 1e-6, "certain": True}, "inconclusive"),
        ({"minimum": high + 1e-6, "certain": True}, "rejected"),
        ({"maximum": low - 1e-6, "certain": True}, "rejected"),
    ):
        gate = {"kind": "limit", "metric": "accuracy", **limits}
        assert arena.validate("limit", arena.alone, uris["alone"], gate).verdict == verdict, limits


def test_champion(arena: Arena, uris: dict[str, str]) -> None:
    result = arena.validate("champion", arena.better, uris["better"], {"kind": "champion"})
    assert (result.verdict, result.champion_version) == ("approved", arena.champion.version)
    assert "against the champion's (version 1)" in result.reasons["champion"]
    result = arena.validate("champion", arena.worse, uris["worse"], {"kind": "champion"})
    assert result.verdict == "rejected"
    # Worse by 0.25 and more, and a margin that says this is no harm.
    assert (
        arena.validate("champion", arena.worse, uris["worse"], {"kind": "champion", "margin": 0.6}).verdict
        == "approved"
    )
    # Asked to be better by a margin: surely, surely not, and not to be decided.
    gain = json.loads(
        _validation(arena, arena.validate("champion", arena.better, uris["better"], {"kind": "champion"}))
    )["gates"][0]["values"]
    for margin, verdict in ((-0.01, "approved"), (-gain["gain"], "inconclusive"), (-0.9, "rejected")):
        gate = {"kind": "champion", "margin": margin}
        assert arena.validate("champion", arena.better, uris["better"], gate).verdict == verdict, margin
    # Nearly the same model: the margin has to be wide enough for what the rows can tell.
    for margin, verdict in ((0.05, "approved"), (0.0, "inconclusive")):
        gate = {"kind": "champion", "metric": "balanced_accuracy", "margin": margin}
        assert arena.validate("champion", arena.same, uris["same"], gate).verdict == verdict, margin
    # A loss is better where it is lower.
    for metric in ("log_loss", "brier_score"):
        gate = {"kind": "champion", "metric": metric, "margin": 0}
        assert arena.validate("champion", arena.better, uris["better"], gate).verdict == "approved"
        assert arena.validate("champion", arena.worse, uris["worse"], gate).verdict == "rejected"
    few = arena.validate("champion", arena.better, uris["better"], {"kind": "champion", "minimum_rows": 601})
    assert few.reasons["champion"] == "inconclusive: 600 test rows are too few to compare: at least 601 are asked"
    itself = arena.validate("champion", arena.champion, uris["champion"], {"kind": "champion"}, {"kind": "signature"})
    assert set(itself.reasons.values()) == {"passed: version 1 is the champion itself"}


def test_a_champion_that_moved_or_cannot_answer_is_inconclusive(arena: Arena, uris: dict[str, str]) -> None:
    old = arena.register("moving", ("age", "region"))
    new = arena.register("moving", ALL)
    uri = arena.evaluated(new, "e-moving")
    registry = arena.workspace.registry()
    promotion.promote(registry, old, expected=None, by=arena.workspace.task, reason="meanwhile")
    result = arena.validate("moving", new, uri, {"kind": "champion"}, {"kind": "slice"})
    assert result.verdict == "inconclusive"
    assert result.reasons["champion"] == (
        "inconclusive: no version was champion at evaluation and version 1 is now: run evaluate again"
    )
    narrow = write(arena.as_task("moving"), "narrow", customers(200, 5).drop(columns="region"))
    third = arena.register("moving", ("age", "income"))
    uri = arena.evaluated(third, "e-moving", dataset=narrow)
    result = arena.validate("moving", third, uri, {"kind": "champion"})
    assert result.reasons["champion"] == (
        "inconclusive: the champion, version 1, cannot be compared: the test rows lack its columns region"
    )
    assert result.champion_version == 1


def test_baseline(arena: Arena, uris: dict[str, str]) -> None:
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


def test_slices(arena: Arena, uris: dict[str, str]) -> None:
    champion = {"kind": "slice", "metric": "accuracy", "margin": 0.02, "columns": ["region"]}
    assert arena.validate("slice", arena.better, uris["better"], champion).verdict == "approved"
    result = arena.validate("slice", arena.worse, uris["worse"], champion)
    assert result.verdict == "rejected"
    assert "region = north by 0." in result.reasons["slice accuracy"]
    assert arena.validate("slice", arena.alone, uris["alone"], champion).reasons["slice accuracy"] == (
        "passed: there is no champion yet to compare with"
    )
    # West has about 60 rows of 600.
    few = {**champion, "minimum_rows": 100}
    result = arena.validate("slice", arena.better, uris["better"], few)
    assert result.verdict == "inconclusive"
    assert "region = west" in result.reasons["slice accuracy"]
    assert (
        arena.validate("slice", arena.better, uris["better"], {**few, "small_slices": "ignore"}).verdict == "approved"
    )
    none = {**few, "minimum_rows": 1000, "small_slices": "ignore"}
    assert arena.validate("slice", arena.better, uris["better"], none).verdict == "inconclusive"
    # Within a quarter of the ages one ranks worse than over all of them.
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
        "inconclusive: the evaluation has no slices: name slice columns in evaluate"
    )


def test_fairness(arena: Arena, uris: dict[str, str]) -> None:
    evaluation = Evaluation.read(uris["alone"])
    scores = {score.column: score.metrics for score in evaluation.fairness}
    value = scores["sex"]["demographic_parity_difference"]
    base = {"kind": "fairness", "columns": ["sex"]}
    name = "fairness demographic_parity_difference"
    for limits, verdict in (
        ({"maximum": value + 1e-9}, "approved"),
        ({"maximum": value - 1e-9}, "rejected"),
        ({"maximum": 1, "minimum_rows": 400}, "inconclusive"),
        ({"metric": "equalized_odds_ratio", "minimum": scores["sex"]["equalized_odds_ratio"] + 1e-9}, "rejected"),
        ({"metric": "equalized_odds_ratio", "minimum": 0.01}, "approved"),
    ):
        assert arena.validate("fair", arena.alone, uris["alone"], {**base, **limits}).verdict == verdict, limits
    low, high = next(s for s in evaluation.fairness if s.column == "sex").intervals["demographic_parity_difference"]
    assert low < value < high
    for limits, verdict in (
        ({"maximum": high + 1e-9}, "approved"),
        ({"maximum": value + 1e-9}, "inconclusive"),
        ({"maximum": value - 1e-9}, "inconclusive"),
        ({"maximum": low - 1e-9}, "rejected"),
        ({"minimum": value}, "inconclusive"),
    ):
        result = arena.validate("fair", arena.alone, uris["alone"], {**base, **limits, "certain": True})
        assert result.verdict == verdict, limits
        assert "interval" in result.reasons[name]
    small = arena.validate("fair", arena.alone, uris["alone"], {**base, "maximum": 1, "minimum_rows": 400})
    assert "sex (too few rows in f, m)" in small.reasons[name]
    both = arena.validate("fair", arena.alone, uris["alone"], {"kind": "fairness", "maximum": 0.9})
    assert "by sex" in both.reasons[name]
    assert "by region" in both.reasons[name]
    none = arena.validate("fair", arena.same, uris["same"], {"kind": "fairness", "maximum": 1})
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
    gate = {"kind": "fairness", "maximum": 1, "metric": "equalized_odds_difference"}
    assert arena.validate("one-class", arena.alone, uri, gate).verdict == "inconclusive"
    gate = {"kind": "fairness", "maximum": 1, "metric": "demographic_parity_difference"}
    assert arena.validate("one-class", arena.alone, uri, gate).verdict == "approved"
    # An evaluation from before there were intervals cannot make a gate certain.
    without = arena.validate("one-class", arena.alone, uri, {**gate, "certain": True})
    assert without.verdict == "inconclusive"
    assert "no interval: run evaluate again" in next(iter(without.reasons.values()))


def test_signature(arena: Arena, uris: dict[str, str]) -> None:
    result = arena.validate("signature", arena.same, uris["same"], {"kind": "signature"})
    assert result.reasons["signature"] == "passed: it takes and gives what version 1 does"
    result = arena.validate("signature", arena.better, uris["better"], {"kind": "signature"})
    assert result.reasons["signature"] == (
        "failed: callers of version 1 could not call it: it needs the new column 'income'"
    )
    allowed = {"kind": "signature", "allow_new_inputs": True}
    assert arena.validate("signature", arena.better, uris["better"], allowed).verdict == "approved"
    # Other types: text instead of a number goes in, a number instead of a class comes out.
    train = customers(300, 7)
    text = write(arena.as_task("types"), "text", train.assign(age=train.age.round(-1).astype(str)))
    other = arena.register("duel", ("age",), LinearRegression(), dataset=text, target="spend", problem="regression")
    uri = arena.evaluated(other, "e-types", dataset=text, target="spend")
    result = arena.validate("signature", other, uri, {"kind": "signature"})
    assert "'age' is string instead of double; it gives double instead of long" in result.reasons["signature"]


def test_budgets_and_answers_that_differ(arena: Arena, uris: dict[str, str]) -> None:
    evaluation = Evaluation.read(uris["alone"])
    first = evaluation.example.predictions[0]
    example = evaluation.example.model_copy(
        update={"predictions": (1 - int(first), *evaluation.example.predictions[1:])}
    )
    uri = arena.as_task("other").uri("evaluations") + "/evaluation.json"
    evaluation.model_copy(update={"example": example}).write(uri)
    gates = (
        {"kind": "size", "maximum_mb": 0.001},
        {"kind": "latency", "maximum_ms": 0.0001, "predictions": 20},
        {"kind": "infrastructure"},
    )
    result = arena.validate("other", arena.alone, uri, *gates)
    assert result.verdict == "rejected"
    assert result.reasons["size"].endswith("MB, 0.001 MB are allowed")
    assert result.reasons["latency"].startswith("failed: 95 % of 20 predictions of one row took at most")
    assert result.reasons["infrastructure"] == (
        f"failed: a fresh process answers the test rows differently: {first} instead of {1 - int(first)} in row 0"
    )


def test_a_package_that_does_not_load_fails(arena: Arena) -> None:
    storage = Path(arena.workspace.storage_uri)
    before = set(storage.rglob("model.*"))
    broken = arena.register("broken", ALL)
    uri = arena.evaluated(broken, "e-broken")
    (packaged,) = set(storage.rglob("model.*")) - before
    packaged.write_bytes(b"not a model")
    result = arena.validate("broken", broken, uri, {"kind": "infrastructure"}, {"kind": "latency"}, {"kind": "size"})
    assert result.reasons["infrastructure"].startswith("failed: in a fresh process: BadZipFile")
    assert result.reasons["latency"].startswith("failed: the model does not predict in a fresh process: BadZipFile")
    assert result.reasons["size"].startswith("passed")


def test_infrastructure_finds_what_only_this_process_can_import(
    arena: Arena, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_here.py").write_text("def doubled(values):\n    return values * 2\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import only_here  # type: ignore[import-not-found]
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    from airflow_provider_mlops.registry.rows import feature_rows, target_values

    workspace = arena.as_task("train-local")
    rows = feature_rows(arena.train.arrow(), ["age", "income"])
    fitted = make_pipeline(FunctionTransformer(only_here.doubled), LogisticRegression(max_iter=1000))
    fitted.fit(rows, target_values(arena.train.arrow(), "target", "classification"))
    with workspace.registry().run(workspace.task, "train") as run:
        model_id = registration.log_model(
            run, fitted, rows, pip_requirements=["scikit-learn"], trusted_types=["only_here.doubled"]
        )
        version = registration.register(run, "local", model_id, workspace.task, work="local")
    uri = arena.evaluated(version, "e-local")
    result = arena.validate("local", version, uri, {"kind": "infrastructure"})
    assert result.verdict == "rejected"
    assert "No module named 'only_here'" in result.reasons["infrastructure"]


def test_a_process_that_hangs_or_dies_is_a_finding(
    arena: Arena, uris: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = arena.validate("slow", arena.alone, uris["alone"], {"kind": "infrastructure", "timeout_seconds": 0.01})
    assert result.reasons["infrastructure"] == "failed: in a fresh process: it had not loaded and answered after 0.01 s"
    crashing = tmp_path / "python"
    crashing.write_text("#!/bin/sh\necho 'libgomp.so.1: cannot open shared object file'\nkill -SEGV $$\n")
    crashing.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(crashing))
    result = arena.validate("slow", arena.alone, uris["alone"], {"kind": "infrastructure"})
    assert result.reasons["infrastructure"] == (
        "failed: in a fresh process: it ended with exit code -11: libgomp.so.1: cannot open shared object file"
    )


def test_regression_gates(arena: Arena) -> None:
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
        {"kind": "limit", "metric": "mae", "maximum": 30},
        {"kind": "fairness", "metric": "mae_difference", "maximum": 20},
    )
    result = arena.validate("spend", new, uri, *gates)
    assert result.verdict == "approved", result.reasons
    assert "r2 is" in result.reasons["champion"]
    with pytest.raises(
        InvalidSpecError, match=r"gates.metric='accuracy': the evaluation of this regression model has rmse"
    ):
        arena.validate("spend", new, uri, {"kind": "limit", "metric": "accuracy", "minimum": 0})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"evaluation_uri": "/nowhere.json"}, r"^evaluation_uri='/nowhere.json': no evaluation lies there"),
        ({"model": ModelVersion(name="duel", version=77, run_id="r")}, r"it evaluates alone version 1, and not duel"),
        ({"gates": [{"kind": "slice", "columns": ["town"]}]}, r"^gates.columns='town': .* its slices are 'age'"),
        ({"gates": [{"kind": "fairness", "maximum": 1, "columns": ["age"]}]}, r"its sensitive are 'region', 'sex'"),
        ({"gates": [{"kind": "fairness", "maximum": 1, "metric": "mae_difference"}]}, r"^gates.metric='mae_diff"),
    ],
)  # fmt: skip
def test_bad_input_names_the_way_out(arena: Arena, uris: dict[str, str], fields: dict[str, Any], message: str) -> None:
    spec = STEP.parse({"model": arena.alone, "evaluation_uri": uris["alone"], **fields})
    with pytest.raises(InvalidSpecError, match=message):
        validate(spec, arena.as_task("bad"))


def test_an_evaluation_whose_files_are_gone_or_broken(arena: Arena, uris: dict[str, str]) -> None:
    workspace = arena.as_task("broken-files")
    evaluation = Evaluation.read(uris["alone"])
    uri = workspace.uri("evaluations") + "/evaluation.json"
    evaluation.model_copy(update={"predictions_uri": "/nowhere.parquet"}).write(uri)
    with pytest.raises(InvalidSpecError, match="the evaluation's predictions cannot be read"):
        arena.validate("broken-files", arena.alone, uri, {"kind": "baseline"})
    example = evaluation.example.model_copy(update={"rows_uri": "/nowhere.parquet"})
    evaluation.model_copy(update={"example": example}).write(uri)
    with pytest.raises(InvalidSpecError, match="the example rows of the evaluation are gone"):
        arena.validate("broken-files", arena.alone, uri, {"kind": "latency"})
    storage.write_text(uri, '{"model": 3}')
    with pytest.raises(InvalidSpecError, match="this is not an evaluation"):
        arena.validate("broken-files", arena.alone, uri, {"kind": "size"})
    gone = ModelVersion(name="alone", version=9, run_id="r")
    evaluation.model_copy(update={"model": gone}).write(uri)
    with pytest.raises(InvalidSpecError, match="alone has no version 9"):
        arena.validate("broken-files", gone, uri, {"kind": "size"})


@pytest.mark.parametrize(
    ("gates", "message"),
    [
        ([{"kind": "limit", "metric": "acuracy", "minimum": 1}], r"^gates.metric='acuracy': .* mean 'accuracy'"),
        ([{"kind": "champion", "metric": "zzz"}], r"^gates.metric='zzz': there is no such metric; use one of accuracy"),
        ([{"kind": "fairness", "metric": "parity", "maximum": 1}], r"^gates.metric='parity': there is no such fair"),
        ([{"kind": "limit", "metric": "accuracy"}], r"give a minimum, a maximum, or both"),
        ([{"kind": "limit", "metric": "accuracy", "minimum": 2, "maximum": 1}], r"nothing could pass"),
        ([{"kind": "limit", "metric": "accuracy", "minimun": 1}], r"^gates.0.minimun=1: there is no such field"),
        ([{"kind": "speed"}], r"^gates.0.kind='speed': use one of limit, .*latency"),
        ([{"kind": "champion"}, {"kind": "champion"}], r"^gates='champion': two gates are called so"),
        ([], r"^gates=\[\]"),
        ([{"kind": "size"}] * 41, r"^gates="),
    ],
)  # fmt: skip
def test_gates_are_checked_before_anything_runs(gates: list[dict[str, Any]], message: str) -> None:
    model = {"name": "a", "version": 1, "run_id": "r"}
    with pytest.raises(InvalidSpecError, match=message):
        STEP.parse({"model": model, "evaluation_uri": "/e", "gates": gates})


def test_gates_travel_as_json_and_results_stay_small() -> None:
    model = ModelVersion(name="a", version=1, run_id="r")
    spec = ValidateSpec(model=model, evaluation_uri="/e", gates=(*DEFAULT_GATES, {"kind": "slice"}))  # type: ignore[arg-type]
    assert STEP.parse(json.loads(spec.model_dump_json())) == spec
    from airflow_provider_mlops.lifecycle.validate import short_reasons

    reasons = short_reasons({f"{'g' * 57}{number:03}": "failed: " + "é" * 5000 for number in range(40)})
    result = ValidateResult(
        model=model, verdict="rejected", reasons=reasons, champion_version=1, report_uri="/r", mlflow_run_id="r"
    )
    assert len(json.dumps(result.model_dump(mode="json"))) <= RESULT_BYTES


def test_two_models_of_equal_rows_are_compared_by_the_pair(arena: Arena, uris: dict[str, str]) -> None:
    # A model that is the champion again, registered anew: every paired difference is zero, and no margin is needed.
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
