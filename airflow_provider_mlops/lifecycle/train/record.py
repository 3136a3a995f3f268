"""Record a training in MLflow and register one model version.

The order makes it safe to kill the task at any point: parameters and inputs come first, then the files of the model and
its metrics, and last the version with all its tags, which makes the model visible.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.lifecycle.scoring.metrics import METRICS, Problem
from airflow_provider_mlops.lifecycle.train import fitting, provenance
from airflow_provider_mlops.lifecycle.train.rows import read_rows

if TYPE_CHECKING:
    from airflow_provider_mlops.lifecycle.train.rows import Rows
    from airflow_provider_mlops.lifecycle.train.spec import TrainSpec
    from airflow_provider_mlops.lifecycle.workspace import Workspace
    from airflow_provider_mlops.registry.model_version import ModelVersion
    from airflow_provider_mlops.registry.run import Run

log = logging.getLogger(__name__)


def train_and_register(
    run: Run,
    spec: TrainSpec,
    workspace: Workspace,
    rows: Rows,
    problem: Problem,
    parameters: Mapping[str, Any],
    *,
    restart: bool = True,
) -> tuple[ModelVersion, dict[str, float]]:
    """Fit, measure, log and register one version within an open run, and return the version and its metrics.

    If an earlier try registered a version for exactly the same work, that version is kept and nothing is trained.

    Parameters
    ----------
    restart
        Whether the run may start again from nothing if an earlier try logged other parameters to it.
    """
    from airflow_provider_mlops.registry import registration

    commit = provenance.git_commit(spec.code)
    work = provenance.work_digest(spec, parameters, commit)
    registered = registration.registered_by(run.registry, spec.model_name, workspace.task, work)
    if registered is not None and registered.run_id == run.id:
        log.info("Kept %s, which an earlier try registered for the same spec, data and code", registered)
        return registered, _logged_metrics(run)
    validation = None
    if spec.validation_dataset is not None:
        validation = read_rows(spec.validation_dataset, spec.target, problem, "validation_dataset", rows)
    _record_inputs(run, spec, problem, parameters, commit, rows, restart)
    model = _fit(spec, rows, problem, parameters)
    metrics = _measure(model, rows, validation, problem)
    classes = {"classes": model.classes_.tolist()} if hasattr(model, "classes_") else {}
    model_id = registration.log_model(
        run,
        model,
        rows.features,
        trusted_types=spec.trusted_types,
        pip_requirements=spec.pip_requirements,
        metadata={"problem": problem, "target": spec.target, **classes},
    )
    run.log_metrics(metrics, model_id=model_id)
    version = registration.register(
        run, spec.model_name, model_id, workspace.task, tags=_version_tags(spec, problem, commit), work=work
    )
    return version, metrics


def _fit(spec: TrainSpec, rows: Rows, problem: Problem, parameters: Mapping[str, Any]) -> Any:
    start = time.monotonic()
    model = fitting.fit(spec, rows, problem, parameters)
    log.info(
        "Trained %s on %s and %s of %s in %.1f s",
        spec.estimator or spec.code,
        pluralize(len(rows.target), "row"),
        pluralize(len(rows.features.columns), "feature"),
        spec.dataset.name,
        time.monotonic() - start,
    )
    return model


def _measure(model: Any, rows: Rows, validation: Rows | None, problem: Problem) -> dict[str, float]:
    measured = rows if validation is None else validation
    metrics = fitting.measure(model, measured, problem)
    if validation is None:
        metrics = {f"train_{name}": value for name, value in metrics.items()}
    log.info(
        "Measured the model on %s: %s",
        pluralize(len(measured.target), "training row" if validation is None else "validation row"),
        _format_metrics(metrics),
    )
    return metrics


def _record_inputs(
    run: Run,
    spec: TrainSpec,
    problem: Problem,
    parameters: Mapping[str, Any],
    commit: str | None,
    rows: Rows,
    restart: bool,
) -> None:
    from airflow_provider_mlops.registry import tags as tag

    recorded = {
        "estimator": spec.estimator or str(spec.code),
        "problem": problem,
        "target": spec.target,
        "seed": spec.seed,
        "rows": len(rows.target),
        "columns": len(rows.features.columns),
        **{f"parameters.{name}": value for name, value in parameters.items()},
    }
    if spec.preprocessing is not None:
        recorded["preprocessing"] = json.dumps(spec.preprocessing.model_dump(mode="json", exclude_defaults=True))
    run.log_params(recorded, restart=restart)
    run.log_datasets(
        [(spec.dataset, "training")]
        + ([(spec.validation_dataset, "validation")] if spec.validation_dataset is not None else [])
    )
    run.set_tags(
        {
            tag.DATA_FINGERPRINT: spec.dataset.fingerprint,
            tag.SEED: spec.seed,
            **{f"mlops.version.{name}": value for name, value in provenance.package_versions().items()},
            **({tag.GIT_COMMIT: commit, "mlflow.source.git.commit": commit} if commit else {}),
        }
    )


def _version_tags(spec: TrainSpec, problem: Problem, commit: str | None) -> dict[str, str]:
    from airflow_provider_mlops.registry import tags as tag

    tags = {
        **spec.version_tags,
        tag.DATA_FINGERPRINT: spec.dataset.fingerprint,
        tag.TARGET: spec.target,
        tag.PROBLEM: problem,
        tag.SEED: str(spec.seed),
    }
    if spec.profile_uri is not None:
        tags[tag.PROFILE_URI] = spec.profile_uri
    if commit is not None:
        tags[tag.GIT_COMMIT] = commit
    return tags


def _logged_metrics(run: Run) -> dict[str, float]:
    logged = run.registry.client.get_run(run.id).data.metrics
    return {name: value for name, value in logged.items() if name.removeprefix("train_") in METRICS}


def _format_metrics(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in metrics.items())
