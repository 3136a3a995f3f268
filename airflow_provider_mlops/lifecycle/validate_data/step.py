"""Data validation: check a dataset against expectations and decide whether the pipeline may continue with it."""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.errors import InvalidSpecError, RejectedError
from airflow_provider_mlops.lifecycle.result_size import first_that_fit, shorten
from airflow_provider_mlops.lifecycle.step import Step
from airflow_provider_mlops.lifecycle.validate_data.spec import (
    SUITE_FIELDS,
    ValidateDataResult,
    ValidateDataSpec,
    Verdict,
)
from airflow_provider_mlops.registry.run import Run, open_run

if TYPE_CHECKING:
    from airflow_provider_mlops.data.profile import Profile
    from airflow_provider_mlops.lifecycle.validate_data.findings import Findings
    from airflow_provider_mlops.lifecycle.workspace import Workspace

log = logging.getLogger(__name__)


def validate_data(spec: ValidateDataSpec, workspace: Workspace) -> ValidateDataResult:
    """Check every expectation, build Data Docs, log to MLflow, and decide.

    Raises
    ------
    InvalidSpecError
        If the suite cannot be read.
    RejectedError
        If the data must not be used. Data Docs and MLflow have the findings.
    """
    from airflow_provider_mlops.lifecycle.validate_data.docs import result_page, write_docs
    from airflow_provider_mlops.lifecycle.validate_data.engine import run_suite
    from airflow_provider_mlops.lifecycle.validate_data.findings import failed_expectations

    started = time.monotonic()
    manifest = spec.dataset.manifest
    suite = _suite(spec)
    with open_run(workspace.registry(), workspace.task, "validate_data") as run:
        log.info(
            "Checking %s on %s of %s",
            pluralize(len(suite.expectations), "expectation"),
            pluralize(manifest.rows, "row"),
            spec.dataset.name,
        )
        outcome, rows_checked = run_suite(spec.dataset, suite, spec.max_rows)
        findings = failed_expectations(outcome, tuple(column.name for column in manifest.columns))
        verdict = _verdict(spec, findings)
        title = f"Data validation of {spec.dataset.name}: {verdict}"
        docs_uri = write_docs(workspace.uri("data_docs"), outcome, suite, title)
        run.log_params({"suite": suite.name, "on_value_skew": spec.on_value_skew})
        run.log_metrics({"expectations": len(outcome.results), "rows_checked": rows_checked})
        run.log_text(result_page(outcome, title), "data_docs.html")
        _log_findings(run, spec, findings, verdict)
    for line in (*findings.schema, *findings.values):
        log.warning("Failed expectation: %s", line)
    log.info(
        "Checked %s in %.1f s: %d failed, the verdict is %s; Data Docs in %s",
        pluralize(len(outcome.results), "expectation"),
        time.monotonic() - started,
        findings.failed,
        verdict,
        docs_uri,
    )
    _stop_if_rejected(spec, findings, docs_uri)
    return ValidateDataResult(
        dataset=spec.dataset,
        verdict=verdict,
        expectations=len(outcome.results),
        failed_expectations=findings.failed,
        schema_skew=first_that_fit((shorten(text, 300) for text in findings.schema), 3_000),
        value_skew=first_that_fit((shorten(text, 300) for text in findings.values), 3_000),
        rows_checked=rows_checked,
        data_docs_uri=docs_uri,
        mlflow_run_id=run.id,
    )


def _log_findings(run: Run, spec: ValidateDataSpec, findings: Findings, verdict: Verdict) -> None:
    from airflow_provider_mlops.registry import tags

    run.log_datasets([(spec.dataset, "validation")])
    run.log_metrics(
        {
            "failed_expectations": findings.failed,
            "schema_skew": len(findings.schema),
            "value_skew": len(findings.values),
        }
    )
    run.set_tags({tags.VERDICT: verdict, tags.DATA_FINGERPRINT: spec.dataset.fingerprint})
    run.log_text(json.dumps(findings.to_json(), indent=2), "validation.json")


def _suite(spec: ValidateDataSpec) -> Any:
    from airflow_provider_mlops.lifecycle.validate_data import suite as suites

    if spec.suite_file is not None:
        suite = suites.from_file(spec.suite_file)
    elif spec.suite_code is not None:
        suite = suites.from_code(spec.suite_code, spec.dataset)
    else:
        assert spec.reference_profile_uri is not None
        suite = suites.from_profile(_profile(spec.reference_profile_uri), spec.dataset.rows)
    if not suite.expectations:
        raise InvalidSpecError(
            next(name for name in SUITE_FIELDS if getattr(spec, name) is not None),
            suite.name,
            "the suite must have at least one expectation",
        )
    return suite


def _profile(uri: str) -> Profile:
    from airflow_provider_mlops.data.profile import Profile

    try:
        return Profile.read(uri)
    except InvalidSpecError as error:
        raise InvalidSpecError("reference_profile_uri", error.value, error.hint) from error


def _verdict(spec: ValidateDataSpec, findings: Findings) -> Verdict:
    if findings.schema or (findings.critical and spec.on_value_skew != "warn"):
        return "failed"
    return "warned" if findings.critical or findings.warnings else "passed"


def _stop_if_rejected(spec: ValidateDataSpec, findings: Findings, docs_uri: str) -> None:
    if findings.schema:
        raise RejectedError(
            f"Rejected {spec.dataset.uri}: schema skew: {_first_five(findings.schema)}. Correct the source or the "
            f"suite. Report: {docs_uri}"
        )
    if findings.critical and spec.on_value_skew == "fail":
        raise RejectedError(
            f"Rejected {spec.dataset.uri}: value skew: {_first_five(findings.critical)}. Correct the source, or set "
            f"on_value_skew to 'warn' or 'continue'. Report: {docs_uri}"
        )


def _first_five(lines: tuple[str, ...]) -> str:
    more = f"; and {len(lines) - 5} more" if len(lines) > 5 else ""
    return "; ".join(lines[:5]) + more


STEP = Step("validate_data", ValidateDataSpec, ValidateDataResult, validate_data, extras=("validation",))
