"""Step 6, validate: decide whether a model may be deployed, by gates that are declared as data."""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.errors import InvalidSpecError, RejectedError
from airflow_provider_mlops.lifecycle.result_size import shorten
from airflow_provider_mlops.lifecycle.scoring.evaluation import Evaluation
from airflow_provider_mlops.lifecycle.step import Step
from airflow_provider_mlops.lifecycle.validate import metric_gates, package_gates
from airflow_provider_mlops.lifecycle.validate.evidence import Evidence, check_gate
from airflow_provider_mlops.lifecycle.validate.gate_result import GateResult
from airflow_provider_mlops.lifecycle.validate.gates import (
    BaselineGate,
    ChampionGate,
    FairnessGate,
    InfrastructureGate,
    LatencyGate,
    LimitGate,
    SignatureGate,
    SizeGate,
    SliceGate,
)
from airflow_provider_mlops.lifecycle.validate.probe import ProbeResult, measure, probe
from airflow_provider_mlops.lifecycle.validate.spec import ValidateResult, ValidateSpec, Verdict
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.registry.model_version import ModelVersion
from airflow_provider_mlops.registry.run import open_run

if TYPE_CHECKING:
    from airflow_provider_mlops.registry.connection import Registry
    from airflow_provider_mlops.registry.run import Run

log = logging.getLogger(__name__)

_GATE_TAG = "mlops.gate."


def validate(spec: ValidateSpec, workspace: Workspace) -> ValidateResult:
    """Check a model version against its gates, and set the alias `challenger` if it is approved.

    The verdict and the reasons are written to MLflow and to the report before anything is raised.

    Raises
    ------
    RejectedError
        If the verdict is not `approved` and the spec says `fail`. The message names the gates.
    InvalidSpecError
        If the version or its evaluation does not exist, or a gate needs something that the evaluation does not have.
    """
    from airflow_provider_mlops.lifecycle.validate.report import report
    from airflow_provider_mlops.registry import models, promotion

    started = time.monotonic()
    evaluation = _read_evaluation(spec)
    registry = workspace.registry()
    version = models.get(registry, spec.model.name, spec.model.version)
    champion = promotion.champion(registry, version.name)
    with open_run(registry, workspace.task, "validate", experiment=spec.experiment) as run:
        results = _decide(spec, workspace, registry, evaluation, version, champion)
        verdict = verdict_of(results)
        report_uri = report(evaluation, verdict, results).write(workspace.uri("reports") + "/validate.html")
        _record(run, registry, version, verdict, results, report_uri)
        _set_alias(registry, version, verdict)
    log.info(
        "Validated %s against %s in %.1f s: %s. Report: %s",
        version,
        pluralize(len(results), "gate"),
        time.monotonic() - started,
        verdict,
        report_uri,
    )
    reaction = {"approved": "continue", "rejected": spec.on_reject, "inconclusive": spec.on_inconclusive}[verdict]
    if reaction == "fail":
        raise RejectedError(rejection(version, verdict, results, report_uri))
    return ValidateResult(
        model=version,
        verdict=verdict,
        reasons=short_reasons({result.gate: f"{result.verdict}: {result.reason}" for result in results}),
        champion_version=evaluation.champion_version,
        report_uri=report_uri,
        mlflow_run_id=run.id,
    )


def _read_evaluation(spec: ValidateSpec) -> Evaluation:
    """Read the evaluation, and check that it is of the version and has everything that the gates need."""
    evaluation = Evaluation.read(spec.evaluation_uri)
    if (evaluation.model.name, evaluation.model.version) != (spec.model.name, spec.model.version):
        raise InvalidSpecError(
            "evaluation_uri",
            spec.evaluation_uri,
            f"it is the evaluation of {evaluation.model}, not of {spec.model}. Run the evaluate step on "
            f"{spec.model} and use its evaluation_uri",
        )
    for gate in spec.gates:
        check_gate(gate, evaluation)
    return evaluation


def verdict_of(results: list[GateResult]) -> Verdict:
    """Return `rejected` if any gate failed, else `inconclusive` if any gate is, else `approved`."""
    verdicts = {result.verdict for result in results}
    if "failed" in verdicts:
        return "rejected"
    return "inconclusive" if "inconclusive" in verdicts else "approved"


def rejection(version: ModelVersion, verdict: Verdict, results: list[GateResult], report_uri: str) -> str:
    """Return the error message with the gates that prevent the approval."""
    decisive = "failed" if verdict == "rejected" else "inconclusive"
    reasons = "; ".join(f"{result.gate}: {result.reason}" for result in results if result.verdict == decisive)
    check = "" if verdict == "rejected" else "inconclusive gates: "
    return f"Rejected {version}: {check}{reasons}. Report: {report_uri}"


def short_reasons(reasons: dict[str, str]) -> dict[str, str]:
    """Return the reasons of all gates, shortened so that together they fit into an XCom."""
    length = min(220, 4_000 // max(1, len(reasons)))
    return {gate: shorten(reason, length) for gate, reason in reasons.items()}


def _decide(
    spec: ValidateSpec,
    workspace: Workspace,
    registry: Registry,
    evaluation: Evaluation,
    version: ModelVersion,
    champion: ModelVersion | None,
) -> list[GateResult]:
    evidence = Evidence(evaluation, champion.version if champion is not None else None)
    probed = _probe(spec, registry, evaluation, version)
    results = []
    for gate in spec.gates:
        match gate:
            case LimitGate():
                result = metric_gates.decide_limit(gate, evidence)
            case ChampionGate():
                result = metric_gates.decide_champion(gate, evidence)
            case BaselineGate():
                result = metric_gates.decide_baseline(gate, evidence)
            case SliceGate():
                result = metric_gates.decide_slices(gate, evidence)
            case FairnessGate():
                result = metric_gates.decide_fairness(gate, evidence)
            case LatencyGate():
                result = package_gates.decide_latency(gate, probed)
            case SizeGate():
                result = package_gates.decide_size(gate, probed)
            case SignatureGate():
                result = package_gates.decide_signature(gate, registry, version, champion)
            case InfrastructureGate():
                result = package_gates.decide_infrastructure(gate, probed, evaluation)
        level = logging.INFO if result.verdict == "passed" else logging.WARNING
        log.log(level, "Gate %s %s: %s", result.gate, result.verdict, result.reason)
        results.append(result)
    return results


def _probe(spec: ValidateSpec, registry: Registry, evaluation: Evaluation, version: ModelVersion) -> ProbeResult:
    """Measure what the package gates need, and start a process only if one of them needs it."""
    if not any(isinstance(gate, LatencyGate | InfrastructureGate) for gate in spec.gates):
        return measure(registry, version) if any(isinstance(gate, SizeGate) for gate in spec.gates) else ProbeResult()
    timeouts = [gate.timeout_seconds for gate in spec.gates if isinstance(gate, InfrastructureGate)]
    return probe(
        registry,
        version,
        evaluation.example.rows_uri,
        predictions=max((gate.predictions for gate in spec.gates if isinstance(gate, LatencyGate)), default=0),
        allow_pickle=spec.allow_pickle,
        timeout=max(timeouts, default=InfrastructureGate().timeout_seconds),
    )


def _record(
    run: Run, registry: Registry, version: ModelVersion, verdict: Verdict, results: list[GateResult], report_uri: str
) -> None:
    """Write the verdict and the reasons to the run and to the version's tags."""
    from airflow_provider_mlops.data import storage
    from airflow_provider_mlops.registry import models, tags

    run.set_tags({tags.VERDICT: verdict, "mlops.model": version.uri})
    run.log_metrics({f"{result.gate}/{name}": value for result in results for name, value in result.values.items()})
    outcome = {"model": version.uri, "verdict": verdict, "gates": [result.model_dump() for result in results]}
    run.log_text(json.dumps(outcome, indent=1), "validation.json")
    run.log_text(storage.read_text(report_uri), "reports/validate.html")
    reasons = {_tag(result.gate): f"{result.verdict}: {result.reason}" for result in results}
    for name in models.tags(registry, version):
        if name.startswith(_GATE_TAG) and name not in reasons:
            registry.client.delete_model_version_tag(version.name, str(version.version), name)
    models.set_tags(registry, version, {tags.VERDICT: verdict, **reasons})


def _set_alias(registry: Registry, version: ModelVersion, verdict: Verdict) -> None:
    """Set the alias `challenger` for an approved version, and remove it from one that is no longer approved."""
    from airflow_provider_mlops.registry import models, promotion
    from airflow_provider_mlops.registry.aliases import CHALLENGER

    if verdict == "approved":
        promotion.set_challenger(registry, version)
    elif models.aliases(registry, version.name).get(CHALLENGER) == version.version:
        registry.client.delete_registered_model_alias(version.name, CHALLENGER)
        log.warning("Removed the alias challenger from %s, which is no longer approved", version)


def _tag(gate: str) -> str:
    """Return the tag name of a gate, with characters that MLflow accepts."""
    return _GATE_TAG + "".join(letter if letter.isalnum() or letter in "_-. " else "_" for letter in gate)


STEP = Step("validate", ValidateSpec, ValidateResult, validate, extras=("train",))
