"""The decisions of the gates on the packaged model: latency, size, signature and infrastructure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.reports.report import format_number
from airflow_provider_mlops.lifecycle.scoring.evaluation import Evaluation, PredictedValues
from airflow_provider_mlops.lifecycle.validate.gate_result import GateResult, GateVerdict, gate_result
from airflow_provider_mlops.lifecycle.validate.gates import InfrastructureGate, LatencyGate, SignatureGate, SizeGate
from airflow_provider_mlops.lifecycle.validate.probe import ProbeResult

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

    from airflow_provider_mlops.registry.connection import Registry
    from airflow_provider_mlops.registry.model_version import ModelVersion

# Types of a column that accept values of another type without loss.
_WIDER = {
    "integer": {"long", "double"},
    "long": {"double"},
    "float": {"double"},
    "boolean": {"integer", "long", "double"},
}


def decide_latency(gate: LatencyGate, probed: ProbeResult) -> GateResult:
    """Decide whether the 95th percentile of the time for one-row predictions is within the limit."""
    import numpy as np

    if probed.latencies_ms is None:
        return gate_result(gate, "failed", f"the model cannot predict in a fresh process: {probed.error}")
    middle, high, highest = (float(value) for value in np.percentile(probed.latencies_ms, [50, 95, 99]))
    values = {"p50_ms": middle, "p95_ms": high, "p99_ms": highest}
    reason = (
        f"the 95th percentile of {len(probed.latencies_ms)} one-row predictions is {format_number(high)} ms "
        f"(median {format_number(middle)} ms), allowed {format_number(gate.max_latency_ms)} ms"
    )
    return gate_result(gate, "passed" if high <= gate.max_latency_ms else "failed", reason, values)


def decide_size(gate: SizeGate, probed: ProbeResult) -> GateResult:
    """Decide whether the files of the model are small enough."""
    if probed.megabytes is None:
        return gate_result(gate, "failed", f"the files of the model cannot be read: {probed.error}")
    reason = (
        f"the packaged model is {format_number(probed.megabytes)} MB large, allowed {format_number(gate.max_mb)} MB"
    )
    verdict: GateVerdict = "passed" if probed.megabytes <= gate.max_mb else "failed"
    return gate_result(gate, verdict, reason, {"megabytes": probed.megabytes})


def decide_infrastructure(gate: InfrastructureGate, probed: ProbeResult, evaluation: Evaluation) -> GateResult:
    """Decide whether the model loads in a fresh process and repeats the recorded predictions there."""
    values = {
        name: value
        for name, value in (("load_seconds", probed.load_seconds), ("peak_megabytes", probed.peak_megabytes))
        if value is not None
    }
    if probed.error is not None:
        return gate_result(gate, "failed", f"the model cannot predict in a fresh process: {probed.error}", values)
    recorded = evaluation.example
    for what, predicted, expected in (
        ("test rows", probed.rows, recorded.predictions),
        ("input example", probed.input_example, recorded.input_example_predictions),
    ):
        if expected is None or predicted is None:
            return gate_result(gate, "failed", f"there are no predictions for the {what} to compare with", values)
        mismatch = _find_mismatch(predicted, expected, gate.tolerance)
        if mismatch is not None:
            reason = f"the predictions for the {what} are different in a fresh process: {mismatch}"
            return gate_result(gate, "failed", reason, values)
    count = len(probed.rows or ()) + len(probed.input_example or ())
    reason = (
        f"a fresh process loaded the model in {format_number(probed.load_seconds or 0.0)} s and repeated the "
        f"predictions for {pluralize(count, 'row')}"
    )
    return gate_result(gate, "passed", reason, values)


def decide_signature(
    gate: SignatureGate, registry: Registry, model: ModelVersion, champion: ModelVersion | None
) -> GateResult:
    """Decide whether callers of the champion can call this model without a change."""
    from airflow_provider_mlops.registry import models

    try:
        own = models.signature(registry, model)
    except InvalidSpecError as error:
        return gate_result(gate, "failed", str(error))
    columns = {"inputs": float(len(own.inputs.inputs))}
    if champion is None:
        return gate_result(
            gate, "passed", "there is no champion yet, so there are no callers to be compatible with", columns
        )
    if champion.version == model.version:
        return gate_result(gate, "passed", f"version {model.version} is the champion itself", columns)
    try:
        theirs = models.signature(registry, champion)
    except InvalidSpecError as error:
        return gate_result(gate, "inconclusive", f"the champion's signature cannot be read: {error}", columns)
    problems = _incompatible(own, theirs, gate.allow_new_inputs)
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        reason = f"callers of the champion, version {champion.version}, cannot call the model: "
        return gate_result(gate, "failed", f"{reason}{'; '.join(problems[:3])}{more}", columns)
    reason = f"callers of the champion, version {champion.version}, can call the model without a change"
    return gate_result(gate, "passed", reason, columns)


def _incompatible(own: ModelSignature, theirs: ModelSignature, allow_new_inputs: bool) -> list[str]:
    """Return the reasons why a caller of the champion (`theirs`) cannot call the model (`own`)."""
    if own.inputs.is_tensor_spec() or theirs.inputs.is_tensor_spec():
        return [] if own.inputs == theirs.inputs else ["the input tensors are different"]
    taken = {spec.name: spec.type.name for spec in theirs.inputs.inputs}
    problems = []
    for spec in own.inputs.inputs:
        kind = taken.get(spec.name)
        if kind is None:
            if spec.required and not allow_new_inputs:
                problems.append(f"it requires the new column {spec.name!r}")
        elif kind != spec.type.name and spec.type.name not in _WIDER.get(kind, ()):
            problems.append(f"{spec.name!r} is {spec.type.name} instead of {kind}")
    returned, expected = _output_types(own), _output_types(theirs)
    if returned != expected:
        problems.append(f"it returns {returned or 'nothing'} instead of {expected or 'nothing'}")
    return problems


def _output_types(signature: ModelSignature) -> str:
    """Return the types of the outputs. Their names do not matter, because responses do not contain them."""
    outputs = signature.outputs.inputs if signature.outputs is not None else ()
    return ", ".join(str(getattr(spec.type, "name", spec.type)) for spec in outputs)


def _find_mismatch(predicted: PredictedValues, expected: PredictedValues, tolerance: float) -> str | None:
    """Return the first prediction that is not the recorded one, in words, or None if all are the same."""
    if len(predicted) != len(expected):
        return f"{pluralize(len(predicted), 'prediction')} instead of {len(expected):,}"
    for number, (value, recorded) in enumerate(zip(predicted, expected, strict=True), start=1):
        if not _is_same(value, recorded, tolerance):
            return f"{value!r} instead of {recorded!r} in row {number}"
    return None


def _is_same(value: float | str, recorded: float | str, tolerance: float) -> bool:
    if isinstance(value, float) and isinstance(recorded, int | float):
        return math.isclose(value, recorded, rel_tol=tolerance, abs_tol=tolerance)
    return value == recorded
