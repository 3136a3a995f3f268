"""Step 2, analyze: the profile of a dataset, with which later steps compare, and a report for people."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.data.names import must_be_a_column, pluralize
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.analyze.spec import AnalyzeResult, AnalyzeSpec
from airflow_provider_mlops.lifecycle.result_size import first_that_fit
from airflow_provider_mlops.lifecycle.step import Step
from airflow_provider_mlops.registry import tags
from airflow_provider_mlops.registry.run import Run, open_run

if TYPE_CHECKING:
    from airflow_provider_mlops.data.profile import Profile
    from airflow_provider_mlops.lifecycle.workspace import Workspace

log = logging.getLogger(__name__)


def analyze(spec: AnalyzeSpec, workspace: Workspace) -> AnalyzeResult:
    """Profile a dataset on the engine, and log the profile and a report to MLflow.

    Raises
    ------
    InvalidSpecError
        If the dataset is missing, incomplete or empty, or does not have a column that a field names.
    BackendUnavailableError
        If MLflow is unavailable.
    """
    started = time.monotonic()
    names = tuple(column.name for column in spec.dataset.manifest.columns)
    for field, name in (("target", spec.target), *(("slices", name) for name in spec.slices)):
        if name is not None and name not in names:
            raise InvalidSpecError(field, name, must_be_a_column(name, names))
    registry = workspace.registry()
    with open_run(registry, workspace.task, "analyze") as run:
        from airflow_provider_mlops.data.profiling import profile as profile_of
        from airflow_provider_mlops.lifecycle.analyze.report import build

        profile = profile_of(
            spec.dataset.table(), target=spec.target, slices=spec.slices, bins=spec.bins, top_values=spec.top_values
        ).model_copy(update={"dataset_uri": spec.dataset.uri, "dataset_fingerprint": spec.dataset.fingerprint})
        profile_uri = profile.write(storage.join(workspace.uri("profiles"), "profile.json"))
        report = build(profile, spec.dataset.name, workspace.task.key)
        report_uri = report.write(storage.join(workspace.uri("reports"), "analyze.html"))
        _log_to_mlflow(run, spec, profile)
        run.set_tags({tags.DATA_FINGERPRINT: spec.dataset.fingerprint, tags.PROFILE_URI: profile_uri})
        run.log_text(storage.read_text(profile_uri), "profile.json")
        run.log_text(storage.read_text(report_uri), "reports/analyze.html")
    for leakage in profile.suspected_leakage[:20]:
        log.warning("Suspected leakage in column %r: %s", leakage.column, leakage.reason)
    log.info(
        "Analyzed %s with %s in %.1f s: profile in %s, report in %s",
        pluralize(profile.rows, "row"),
        pluralize(len(profile.columns), "column"),
        time.monotonic() - started,
        profile_uri,
        report_uri,
    )
    return AnalyzeResult(
        dataset=spec.dataset,
        profile_uri=profile_uri,
        report_uri=report_uri,
        rows=profile.rows,
        columns=len(profile.columns),
        duplicate_rows=profile.duplicate_rows,
        suspected_leakage=first_that_fit((leakage.column for leakage in profile.suspected_leakage), 3_000),
        class_balance=_largest_classes(profile),
        mlflow_run_id=run.id,
    )


def _log_to_mlflow(run: Run, spec: AnalyzeSpec, profile: Profile) -> None:
    run.log_datasets([(spec.dataset, "analysis")])
    run.log_params({"target": spec.target, "slices": ", ".join(spec.slices), "bins": spec.bins})
    missing = sum(column.nulls for column in profile.columns) / (profile.rows * len(profile.columns))
    run.log_metrics(
        {
            "rows": profile.rows,
            "columns": len(profile.columns),
            "duplicate_rows": profile.duplicate_rows,
            "missing_share": missing,
            "suspected_leakage": len(profile.suspected_leakage),
            **{f"class_share/{name}": share for name, share in (profile.class_balance or {}).items()},
        }
    )


def _largest_classes(profile: Profile) -> dict[str, float] | None:
    """Return the shares of as many classes as fit into the result."""
    balance = profile.class_balance
    if balance is None:
        return None
    return {name: balance[name] for name in first_that_fit(balance, 3_000, extra=24)}


STEP = Step("analyze", AnalyzeSpec, AnalyzeResult, analyze, extras=("data",))
