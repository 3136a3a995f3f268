"""Step 2, analyze: a dataset's profile, which later steps compare with, and a report for people."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.data.names import list_names
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.analyze.spec import AnalyzeResult, AnalyzeSpec
from airflow_provider_mlops.lifecycle.result_size import first
from airflow_provider_mlops.lifecycle.step import Step
from airflow_provider_mlops.registry.run import open_run

if TYPE_CHECKING:
    from airflow_provider_mlops.lifecycle.workspace import Workspace

log = logging.getLogger(__name__)


def analyze(spec: AnalyzeSpec, workspace: Workspace) -> AnalyzeResult:
    """Profile a dataset on the engine, and log the profile and a report to MLflow.

    Raises InvalidSpecError for a dataset that is not there, is only half there or has no rows, and for a column that it
    does not have; BackendUnavailableError if MLflow does not answer.
    """
    names = tuple(column.name for column in spec.dataset.manifest.columns)
    for field, name in (("target", spec.target), *(("slices", name) for name in spec.slices)):
        if name is not None and name not in names:
            raise InvalidSpecError(field, name, f"name one of the columns: {list_names(names)}")
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
        run.set_tags({"mlops.data_fingerprint": spec.dataset.fingerprint, "mlops.profile_uri": profile_uri})
        run.log_text(storage.read_text(profile_uri), "profile.json")
        run.log_text(storage.read_text(report_uri), "reports/analyze.html")
    for leakage in profile.suspected_leakage[:20]:
        log.warning("Suspected leakage: %r: %s", leakage.column, leakage.reason)
    log.info("The profile lies at %s, the report at %s", profile_uri, report_uri)
    balance = profile.class_balance
    return AnalyzeResult(
        dataset=spec.dataset,
        profile_uri=profile_uri,
        report_uri=report_uri,
        rows=profile.rows,
        columns=len(profile.columns),
        duplicate_rows=profile.duplicate_rows,
        suspected_leakage=first((leakage.column for leakage in profile.suspected_leakage), 3_000),
        class_balance=None if balance is None else {name: balance[name] for name in first(balance, 3_000, beside=24)},
        mlflow_run_id=run.id,
    )


STEP = Step("analyze", AnalyzeSpec, AnalyzeResult, analyze, extras=("data",))
