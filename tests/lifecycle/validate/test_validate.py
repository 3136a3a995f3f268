"""The validate step: the effect of a verdict on the version, its tags and aliases, its run and its task."""

from __future__ import annotations

import json

import pytest

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.errors import RejectedError
from airflow_provider_mlops.lifecycle.result_size import RESULT_BYTES
from airflow_provider_mlops.lifecycle.validate.gates import DEFAULT_GATES
from airflow_provider_mlops.lifecycle.validate.spec import ValidateResult, ValidateSpec
from airflow_provider_mlops.lifecycle.validate.step import STEP
from airflow_provider_mlops.registry import models, tags
from airflow_provider_mlops.registry.model_version import ModelVersion
from tests.helpers.validation import ALL, Arena


def test_a_first_version_passes_the_default_gates_and_becomes_challenger(arena: Arena, uris: dict[str, str]) -> None:
    result = arena.validate("first", arena.alone, uris["alone"])
    assert result.verdict == "approved"
    assert set(result.reasons) == {"baseline", "champion", "signature", "infrastructure", "size", "latency"}
    assert result.reasons["champion"] == "passed: there is no champion yet, so there is nothing to compare with"
    assert (
        result.reasons["signature"] == "passed: there is no champion yet, so there are no callers to be compatible with"
    )
    assert "repeated the predictions for 15 rows" in result.reasons["infrastructure"]
    assert result.champion_version is None
    assert arena.aliases("alone") == {"challenger": arena.alone.version}

    registry = arena.workspace.registry()
    version_tags = models.tags(registry, arena.alone)
    assert version_tags[tags.VERDICT] == "approved"
    assert version_tags["mlops.gate.size"].startswith("passed: the packaged model is 0.0")
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
    assert "6 gates: 6 passed." in html

    # A retry uses the same run; validating with other gates removes the tags of the old ones.
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
    strict = {"kind": "limit", "metric": "accuracy", "min_value": 0.999}
    assert arena.validate("fallen", version, uri, strict).verdict == "rejected"
    assert arena.aliases("fallen") == {}
    assert models.tags(arena.workspace.registry(), version)[tags.VERDICT] == "rejected"


def test_a_rejection_is_recorded_before_it_fails_the_step(arena: Arena, uris: dict[str, str]) -> None:
    gates = (
        {"kind": "limit", "metric": "accuracy", "min_value": 0.999},
        {"kind": "champion"},
        {"kind": "limit", "metric": "log_loss", "max_value": 10},
    )
    with pytest.raises(RejectedError, match=r"^Rejected duel version 3: limit accuracy: accuracy is 0\.") as raised:
        arena.validate("fails", arena.worse, uris["worse"], *gates, on_reject="fail")
    assert "champion: roc_auc is" in str(raised.value)
    assert "log_loss" not in str(raised.value)
    registry = arena.workspace.registry()
    assert models.tags(registry, arena.worse)[tags.VERDICT] == "rejected"
    (run,) = registry.client.search_runs([registry.experiment("churn")], "tags.`mlops.task_id` = 'fails'")
    assert run.data.tags[tags.VERDICT] == "rejected"
    assert run.info.status == "FINISHED"
    assert "challenger" not in arena.aliases("duel") or arena.aliases("duel")["challenger"] != arena.worse.version
    with pytest.raises(RejectedError, match=r"Rejected duel version .*: inconclusive gates: slice"):
        arena.validate("unsure", arena.same, uris["same"], {"kind": "slice"}, on_inconclusive="fail")
    # on_reject and on_inconclusive are independent.
    assert (
        arena.validate("unsure", arena.same, uris["same"], {"kind": "slice"}, on_reject="fail").verdict
        == "inconclusive"
    )


def test_gates_travel_as_json_and_results_stay_small() -> None:
    model = ModelVersion(name="a", version=1, run_id="r")
    spec = ValidateSpec(model=model, evaluation_uri="/e", gates=(*DEFAULT_GATES, {"kind": "slice"}))  # type: ignore[arg-type]
    assert STEP.parse(json.loads(spec.model_dump_json())) == spec
    from airflow_provider_mlops.lifecycle.validate.step import short_reasons

    reasons = short_reasons({f"{'g' * 57}{number:03}": "failed: " + "é" * 5000 for number in range(40)})
    result = ValidateResult(
        model=model, verdict="rejected", reasons=reasons, champion_version=1, report_uri="/r", mlflow_run_id="r"
    )
    assert len(json.dumps(result.model_dump(mode="json"))) <= RESULT_BYTES
