"""The evidence for metric gates: an evaluation with its per-row predictions, and the current champion."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from airflow_provider_mlops.data.names import suggest
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.scoring.evaluation import Evaluation
from airflow_provider_mlops.lifecycle.scoring.intervals import resample
from airflow_provider_mlops.lifecycle.scoring.metrics import METRICS, Metric
from airflow_provider_mlops.lifecycle.scoring.predictions import RowPredictions
from airflow_provider_mlops.lifecycle.validate.gate_result import GateVerdict
from airflow_provider_mlops.lifecycle.validate.gates import (
    BaselineGate,
    ChampionGate,
    FairnessGate,
    Gate,
    LimitGate,
    SliceGate,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from airflow_provider_mlops.stats.intervals.bootstrap import ResampledMetrics


class Evidence:
    """An evaluation with its rows, as the basis for the decisions of metric gates.

    Parameters
    ----------
    evaluation
        Evaluation that the evaluate step wrote.
    champion_now
        Version that is champion now, which may have changed since the evaluation.
    """

    def __init__(self, evaluation: Evaluation, champion_now: int | None) -> None:
        self.evaluation = evaluation
        self.champion_now = champion_now

    @cached_property
    def rows(self) -> RowPredictions:
        """Read the per-row predictions."""
        evaluation = self.evaluation
        return RowPredictions.read(evaluation.predictions_uri, evaluation.problem, evaluation.classes)

    @cached_property
    def resampled(self) -> dict[str, ResampledMetrics]:
        """Resample all rows once, for all models."""
        return self.resample(list(self.rows.models))

    def resample(self, names: list[str], chosen: NDArray[np.int64] | None = None) -> dict[str, ResampledMetrics]:
        """Resample the chosen rows, or all rows, once for the named models."""
        rows = self.rows
        truth = rows.truth if chosen is None else rows.truth[chosen]
        models = [rows.models[name] if chosen is None else rows.models[name].take(chosen) for name in names]
        evaluation = self.evaluation
        drawn = resample(
            evaluation.problem,
            truth,
            models,
            len(evaluation.classes),
            resamples=evaluation.resamples,
            seed=evaluation.seed,
        )
        return dict(zip(names, drawn, strict=True))

    def metric(self, name: str | None) -> Metric:
        """Return the metric of a gate, by default the main one. Raises InvalidSpecError if the evaluation lacks it."""
        chosen = name or self.evaluation.main_metric
        if chosen not in self.evaluation.metrics:
            raise InvalidSpecError(
                "gates.metric",
                chosen,
                f"the evaluation of this {self.evaluation.problem} model does not have this metric. Use one of "
                f"{', '.join(self.evaluation.metrics)}",
            )
        return METRICS[chosen]

    def no_champion(self) -> tuple[GateVerdict, str] | None:
        """Return the verdict and reason of a gate without a champion to compare with, or None if there is one."""
        then, now, own = self.evaluation.champion_version, self.champion_now, self.evaluation.model.version
        if now is None and then is None:
            return "passed", "there is no champion yet, so there is nothing to compare with"
        if now == own:
            return "passed", f"version {own} is the champion itself"
        if now != then:
            before, after = (f"version {v}" if v is not None else "no version" for v in (then, now))
            return "inconclusive", (
                f"{before} was champion during the evaluation, but {after} is champion now. Run the evaluate step again"
            )
        if self.evaluation.champion is None:
            return "inconclusive", self.evaluation.champion_note
        return None


def check_gate(gate: Gate, evaluation: Evaluation) -> None:
    """Raise InvalidSpecError if a gate names a metric or a column that the evaluation does not have."""
    if isinstance(gate, LimitGate | ChampionGate | BaselineGate | SliceGate):
        Evidence(evaluation, None).metric(gate.metric)
    if isinstance(gate, SliceGate):
        _check_columns(gate.columns, {part.column for part in evaluation.slices}, "slices")
    if isinstance(gate, FairnessGate):
        _check_columns(gate.columns, {part.column for part in evaluation.fairness}, "sensitive")
        known = {name for part in evaluation.fairness for name in part.metrics}
        if evaluation.fairness and gate.metric not in known:
            raise InvalidSpecError(
                "gates.metric",
                gate.metric,
                f"the evaluation of this {evaluation.problem} model does not have this measure. Use one of "
                f"{', '.join(sorted(known))}",
            )


def _check_columns(wanted: tuple[str, ...] | None, known: set[str], field: str) -> None:
    for name in wanted or ():
        if name not in known:
            hint = f"it must be one of the {field} columns of the evaluation"
            hint += (
                f". {suggest(name, sorted(known))}" if known else f", which has none. Set {field} in the evaluate step"
            )
            raise InvalidSpecError("gates.columns", name, hint)
