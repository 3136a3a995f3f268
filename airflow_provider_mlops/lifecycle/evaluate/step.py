"""Step 5, evaluate: measure a model on test rows, by slice and group, next to a baseline and the champion."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from airflow_provider_mlops.data.names import list_names
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.extras import require
from airflow_provider_mlops.lifecycle.evaluate.spec import EvaluateResult, EvaluateSpec
from airflow_provider_mlops.lifecycle.step import Step
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.registry.model_version import ModelVersion
from airflow_provider_mlops.registry.run import open_run

if TYPE_CHECKING:
    from airflow_provider_mlops.lifecycle.scoring.evaluation import Evaluation
    from airflow_provider_mlops.registry.connection import Registry

log = logging.getLogger(__name__)


def evaluate(spec: EvaluateSpec, workspace: Workspace) -> EvaluateResult:
    """Evaluate a model version.

    Raises
    ------
    InvalidSpecError
        If the version, the dataset or a column does not exist.
    RejectedError
        If target values are missing or the model's predictions are not finite.
    """
    from airflow_provider_mlops.lifecycle.evaluate.artifacts import log_to_mlflow
    from airflow_provider_mlops.lifecycle.evaluate.measure import Subject, measure
    from airflow_provider_mlops.lifecycle.evaluate.report import report
    from airflow_provider_mlops.registry import models, tags

    if spec.sensitive or spec.slices:
        require("The step evaluate with slices or sensitive columns", "fairness")
    started = time.monotonic()
    registry = workspace.registry()
    version = models.get(registry, spec.model.name, spec.model.version)
    features = _check_columns(spec, registry, version)
    with open_run(registry, workspace.task, "evaluate", experiment=spec.experiment) as run:
        evaluation, rows = measure(Subject(spec, workspace, registry, version), features)
        evaluation_uri = workspace.uri("evaluations") + "/evaluation.json"
        report_uri = report(evaluation, rows).write(workspace.uri("reports") + "/evaluate.html")
        evaluation.write(evaluation_uri)
        log_to_mlflow(run, spec, version, evaluation, report_uri)
        models.set_tags(
            registry,
            version,
            {tags.EVALUATION_URI: evaluation_uri, tags.PREDICTION_PROFILE_URI: evaluation.prediction_profile_uri},
        )
    _log_result(evaluation, report_uri, time.monotonic() - started)
    return EvaluateResult(
        model=version,
        metrics=evaluation.metrics,
        intervals=evaluation.intervals,
        baseline=evaluation.baseline.metrics,
        champion=evaluation.champion.metrics if evaluation.champion else None,
        champion_version=evaluation.champion_version,
        evaluation_uri=evaluation_uri,
        report_uri=report_uri,
        mlflow_run_id=run.id,
    )


def _log_result(evaluation: Evaluation, report_uri: str, seconds: float) -> None:
    name = evaluation.main_metric
    low, high = evaluation.intervals[name]
    baseline = evaluation.baseline.metrics.get(name)
    log.info(
        "Evaluated %s on %s rows in %.1f s: %s %.4g (%g%% interval %.4g to %.4g), baseline %s; %s. Report: %s",
        evaluation.model,
        f"{evaluation.rows:,}",
        seconds,
        name,
        evaluation.metrics[name],
        100 * evaluation.confidence,
        low,
        high,
        "not defined" if baseline is None else f"{baseline:.4g}",
        evaluation.champion_note,
        report_uri,
    )


def _check_columns(spec: EvaluateSpec, registry: Registry, version: ModelVersion) -> tuple[str, ...]:
    """Check that the dataset has all columns that the spec and the model need, and return those of the model."""
    from airflow_provider_mlops.lifecycle.evaluate.loaded_models import feature_names
    from airflow_provider_mlops.lifecycle.evaluate.slices import require_columns

    columns = [column.name for column in spec.dataset.manifest.columns]
    require_columns("target", (spec.target,), columns, spec.dataset.uri)
    require_columns("slices", spec.slices, columns, spec.dataset.uri)
    require_columns("sensitive", spec.sensitive, columns, spec.dataset.uri)
    features = feature_names(registry, version)
    missing = [name for name in features if name not in columns]
    if missing:
        raise InvalidSpecError(
            "dataset",
            spec.dataset.uri,
            f"the dataset lacks columns that the model takes: {list_names(missing, 5)}. Use the test dataset of the "
            "prepare task that made the training rows",
        )
    if spec.target in features:
        raise InvalidSpecError(
            "target", spec.target, "the model takes this column as a feature. Use the column that the model predicts"
        )
    return features


STEP = Step("evaluate", EvaluateSpec, EvaluateResult, evaluate, extras=("train", "reports"))
