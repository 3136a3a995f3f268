"""Gates on the packaged model: its signature, its size, and its predictions in a fresh process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from airflow_provider_mlops.lifecycle.scoring.evaluation import Evaluation
from airflow_provider_mlops.registry import registration
from airflow_provider_mlops.registry.run import open_run
from tests.helpers.models import customers, write
from tests.helpers.validation import ALL, Arena


def test_the_signature_gate_protects_callers_of_the_champion(arena: Arena, uris: dict[str, str]) -> None:
    result = arena.validate("signature", arena.same, uris["same"], {"kind": "signature"})
    assert result.reasons["signature"] == (
        "passed: callers of the champion, version 1, can call the model without a change"
    )
    result = arena.validate("signature", arena.better, uris["better"], {"kind": "signature"})
    assert result.reasons["signature"] == (
        "failed: callers of the champion, version 1, cannot call the model: it requires the new column 'income'"
    )
    allowed = {"kind": "signature", "allow_new_inputs": True}
    assert arena.validate("signature", arena.better, uris["better"], allowed).verdict == "approved"
    # Other types: text instead of a number goes in, a number instead of a class comes out.
    train = customers(300, 7)
    text = write(arena.as_task("types"), "text", train.assign(age=train.age.round(-1).astype(str)))
    other = arena.register("duel", ("age",), LinearRegression(), dataset=text, target="spend", problem="regression")
    uri = arena.evaluated(other, "e-types", dataset=text, target="spend")
    result = arena.validate("signature", other, uri, {"kind": "signature"})
    assert "'age' is string instead of double; it returns double instead of long" in result.reasons["signature"]


def test_exceeded_limits_and_different_predictions_fail(arena: Arena, uris: dict[str, str]) -> None:
    evaluation = Evaluation.read(uris["alone"])
    first = evaluation.example.predictions[0]
    example = evaluation.example.model_copy(
        update={"predictions": (1 - int(first), *evaluation.example.predictions[1:])}
    )
    uri = arena.as_task("other").uri("evaluations") + "/evaluation.json"
    evaluation.model_copy(update={"example": example}).write(uri)
    gates = (
        {"kind": "size", "max_mb": 0.001},
        {"kind": "latency", "max_latency_ms": 0.0001, "predictions": 20},
        {"kind": "infrastructure"},
    )
    result = arena.validate("other", arena.alone, uri, *gates)
    assert result.verdict == "rejected"
    assert result.reasons["size"].endswith("MB large, allowed 0.001 MB")
    assert result.reasons["latency"].startswith("failed: the 95th percentile of 20 one-row predictions is")
    assert result.reasons["infrastructure"] == (
        "failed: the predictions for the test rows are different in a fresh process: "
        f"{first} instead of {1 - int(first)} in row 1"
    )


def test_a_package_that_does_not_load_fails(arena: Arena) -> None:
    storage = Path(arena.workspace.storage_uri)
    before = set(storage.rglob("model.*"))
    broken = arena.register("broken", ALL)
    uri = arena.evaluated(broken, "e-broken")
    (packaged,) = set(storage.rglob("model.*")) - before
    packaged.write_bytes(b"not a model")
    result = arena.validate("broken", broken, uri, {"kind": "infrastructure"}, {"kind": "latency"}, {"kind": "size"})
    for gate in ("infrastructure", "latency"):
        assert result.reasons[gate].startswith("failed: the model cannot predict in a fresh process")
        assert "BadZipFile" in result.reasons[gate]
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
    with open_run(workspace.registry(), workspace.task, "train") as run:
        model_id = registration.log_model(
            run, fitted, rows, pip_requirements=["scikit-learn"], trusted_types=["only_here.doubled"]
        )
        version = registration.register(run, "local", model_id, workspace.task, work="local")
    uri = arena.evaluated(version, "e-local")
    result = arena.validate("local", version, uri, {"kind": "infrastructure"})
    assert result.verdict == "rejected"
    assert "No module named 'only_here'" in result.reasons["infrastructure"]


def test_a_process_that_hangs_or_crashes_fails_the_gate(
    arena: Arena, uris: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = arena.validate("slow", arena.alone, uris["alone"], {"kind": "infrastructure", "timeout_seconds": 0.01})
    assert result.reasons["infrastructure"].endswith("the process did not load the model and predict within 0.01 s")
    crashing = tmp_path / "python"
    crashing.write_text("#!/bin/sh\necho 'libgomp.so.1: cannot open shared object file'\nkill -SEGV $$\n")
    crashing.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(crashing))
    result = arena.validate("slow", arena.alone, uris["alone"], {"kind": "infrastructure"})
    assert result.reasons["infrastructure"] == (
        "failed: the model cannot predict in a fresh process: the process exited with code -11: "
        "libgomp.so.1: cannot open shared object file"
    )
