"""How the gates that look at the packaged model decide: latency, size, signature and infrastructure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.reports.report import format_number as number
from airflow_provider_mlops.lifecycle.scoring.evaluation import Answers, Evaluation
from airflow_provider_mlops.lifecycle.validate.gates import (
    Gate,
    GateResult,
    GateVerdict,
    InfrastructureGate,
    LatencyGate,
    SignatureGate,
    SizeGate,
)
from airflow_provider_mlops.lifecycle.validate.probe import Probed

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

    from airflow_provider_mlops.registry.connection import Registry
    from airflow_provider_mlops.registry.model_version import ModelVersion

# What a caller may send to a column of another type without loss.
_WIDER = {
    "integer": {"long", "double"},
    "long": {"double"},
    "float": {"double"},
    "boolean": {"integer", "long", "double"},
}


def latency(gate: LatencyGate, probed: Probed) -> GateResult:
    """Whether the 95th percentile of one-row predictions is below the limit."""
    import numpy as np

    if probed.latencies_ms is None:
        return _result(gate, "failed", f"the model does not predict in a fresh process: {probed.error}")
    middle, high, highest = (float(value) for value in np.percentile(probed.latencies_ms, [50, 95, 99]))
    values = {"p50_ms": middle, "p95_ms": high, "p99_ms": highest}
    said = (
        f"95 % of {len(probed.latencies_ms)} predictions of one row took at most {number(high)} ms "
        f"(half of them {number(middle)} ms), {number(gate.max_latency_ms)} ms are allowed"
    )
    return _result(gate, "passed" if high <= gate.max_latency_ms else "failed", said, values)


def size(gate: SizeGate, probed: Probed) -> GateResult:
    """Whether the files of the model are small enough."""
    if probed.megabytes is None:
        return _result(gate, "failed", f"the files of the model cannot be read: {probed.error}")
    said = f"the packaged model has {number(probed.megabytes)} MB, {number(gate.max_mb)} MB are allowed"
    verdict: GateVerdict = "passed" if probed.megabytes <= gate.max_mb else "failed"
    return _result(gate, verdict, said, {"megabytes": probed.megabytes})


def infrastructure(gate: InfrastructureGate, probed: Probed, evaluation: Evaluation) -> GateResult:
    """Whether a fresh process loads the model and answers what was recorded."""
    values = {
        name: value
        for name, value in (("load_seconds", probed.load_seconds), ("peak_megabytes", probed.peak_megabytes))
        if value is not None
    }
    if probed.error is not None:
        return _result(gate, "failed", f"in a fresh process: {probed.error}", values)
    recorded = evaluation.example
    for what, found, expected in (
        ("test rows", probed.rows, recorded.predictions),
        ("input example", probed.input_example, recorded.input_example_predictions),
    ):
        if expected is None or found is None:
            return _result(gate, "failed", f"there is no answer to the {what} to compare with", values)
        different = _different(found, expected, gate.tolerance)
        if different is not None:
            return _result(gate, "failed", f"a fresh process answers the {what} differently: {different}", values)
    answered = len(probed.rows or ()) + len(probed.input_example or ())
    said = (
        f"a fresh process loaded it in {number(probed.load_seconds or 0.0)} s and answered {answered} rows as recorded"
    )
    return _result(gate, "passed", said, values)


def signature(
    gate: SignatureGate, registry: Registry, model: ModelVersion, champion: ModelVersion | None
) -> GateResult:
    """Whether who calls the champion can call this model."""
    from airflow_provider_mlops.registry import models

    try:
        own = models.signature(registry, model)
    except InvalidSpecError as error:
        return _result(gate, "failed", str(error))
    columns = {"inputs": float(len(own.inputs.inputs))}
    if champion is None:
        return _result(gate, "passed", "there is no champion yet to be compatible with", columns)
    if champion.version == model.version:
        return _result(gate, "passed", f"version {model.version} is the champion itself", columns)
    try:
        theirs = models.signature(registry, champion)
    except InvalidSpecError as error:
        return _result(gate, "inconclusive", f"the champion's signature cannot be read: {error}", columns)
    problems = _incompatible(own, theirs, gate.allow_new_inputs)
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        said = f"callers of version {champion.version} could not call it: {'; '.join(problems[:3])}{more}"
        return _result(gate, "failed", said, columns)
    return _result(gate, "passed", f"it takes and gives what version {champion.version} does", columns)


def _incompatible(own: ModelSignature, theirs: ModelSignature, allow_new_inputs: bool) -> list[str]:
    """What a caller of the one would stumble over with the other."""
    if own.inputs.is_tensor_spec() or theirs.inputs.is_tensor_spec():
        return [] if own.inputs == theirs.inputs else ["the inputs are other tensors"]
    taken = {spec.name: spec.type.name for spec in theirs.inputs.inputs}
    problems = []
    for spec in own.inputs.inputs:
        kind = taken.get(spec.name)
        if kind is None:
            if spec.required and not allow_new_inputs:
                problems.append(f"it needs the new column {spec.name!r}")
        elif kind != spec.type.name and spec.type.name not in _WIDER.get(kind, ()):
            problems.append(f"{spec.name!r} is {spec.type.name} instead of {kind}")
    given, before = _outputs(own), _outputs(theirs)
    if given != before:
        problems.append(f"it gives {given or 'nothing'} instead of {before or 'nothing'}")
    return problems


def _outputs(signature: ModelSignature) -> str:
    """The types of what the model gives. Names of outputs are of no consequence: they are not part of a response."""
    outputs = signature.outputs.inputs if signature.outputs is not None else ()
    return ", ".join(str(getattr(spec.type, "name", spec.type)) for spec in outputs)


def _different(found: Answers, expected: Answers, tolerance: float) -> str | None:
    """The first answer that is not the recorded one, in words."""
    import math

    if len(found) != len(expected):
        return f"{len(found)} answers instead of {len(expected)}"
    for position, (one, other) in enumerate(zip(found, expected, strict=True)):
        numbers = isinstance(one, float) and isinstance(other, int | float)
        same = math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance) if numbers else one == other  # type: ignore[arg-type]
        if not same:
            return f"{one!r} instead of {other!r} in row {position}"
    return None


def _result(gate: Gate, verdict: GateVerdict, reason: str, values: dict[str, float] | None = None) -> GateResult:
    return GateResult(gate=gate.title, kind=gate.kind, verdict=verdict, reason=reason, values=values or {})
