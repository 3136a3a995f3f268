"""Data validation: does a dataset meet the expectations, and may the pipeline go on with it?"""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.errors import InvalidSpecError, RejectedError
from airflow_provider_mlops.lifecycle.result_size import cut, first
from airflow_provider_mlops.lifecycle.step import Step
from airflow_provider_mlops.lifecycle.validate_data.spec import _SOURCES, ValidateDataResult, ValidateDataSpec, Verdict
from airflow_provider_mlops.registry.run import open_run

if TYPE_CHECKING:
    from airflow_provider_mlops.data.profile import Profile
    from airflow_provider_mlops.lifecycle.validate_data.findings import Findings
    from airflow_provider_mlops.lifecycle.workspace import Workspace

log = logging.getLogger(__name__)


def validate_data(spec: ValidateDataSpec, workspace: Workspace) -> ValidateDataResult:
    """Check every expectation, build Data Docs, log to MLflow, and decide.

    Raises RejectedError if the data may not be used, after Data Docs and MLflow have it. InvalidSpecError if
    the suite cannot be read.
    """
    from airflow_provider_mlops.lifecycle.validate_data.docs import result_page, write_docs
    from airflow_provider_mlops.lifecycle.validate_data.engine import run_suite
    from airflow_provider_mlops.lifecycle.validate_data.findings import sort_out
    from airflow_provider_mlops.registry import tags

    started = time.monotonic()
    manifest = spec.dataset.manifest
    suite = _suite(spec)
    with open_run(workspace.registry(), workspace.task, "validate_data") as run:
        log.info("Checking %d expectations on %s: %d rows", len(suite.expectations), spec.dataset.name, manifest.rows)
        outcome, rows_checked = run_suite(spec.dataset, suite, spec.max_rows)
        findings = sort_out(outcome, tuple(column.name for column in manifest.columns))
        verdict = _verdict(spec, findings)
        title = f"Data validation of {spec.dataset.name}: {verdict}"
        docs_uri = write_docs(workspace.uri("data_docs"), outcome, suite, title)
        run.log_datasets([(spec.dataset, "validation")])
        run.log_params({"suite": suite.name, "on_value_skew": spec.on_value_skew})
        run.log_metrics(
            {
                "expectations": len(outcome.results),
                "failed_expectations": findings.failed,
                "schema_skew": len(findings.schema),
                "value_skew": len(findings.values),
                "rows_checked": rows_checked,
            }
        )
        run.set_tags({tags.VERDICT: verdict, tags.DATA_FINGERPRINT: spec.dataset.fingerprint})
        run.log_text(json.dumps(findings.everything(), indent=2), "validation.json")
        run.log_text(result_page(outcome, title), "data_docs.html")
    for line in (*findings.schema, *findings.values):
        log.warning("Not as expected: %s", line)
    log.info(
        "Verdict %s: %d of %d expectations hold, in %.1f s; Data Docs at %s",
        verdict,
        len(outcome.results) - findings.failed,
        len(outcome.results),
        time.monotonic() - started,
        docs_uri,
    )
    _stop_if_rejected(spec, findings, docs_uri)
    return ValidateDataResult(
        dataset=spec.dataset,
        verdict=verdict,
        expectations=len(outcome.results),
        failed_expectations=findings.failed,
        schema_skew=first((cut(text, 300) for text in findings.schema), 3_000),
        value_skew=first((cut(text, 300) for text in findings.values), 3_000),
        rows_checked=rows_checked,
        data_docs_uri=docs_uri,
        mlflow_run_id=run.id,
    )


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
            next(name for name in _SOURCES if getattr(spec, name) is not None),
            suite.name,
            "the suite has no expectations, so everything would pass: add at least one",
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
            f"schema skew in {spec.dataset.uri}: {_listed(findings.schema)}. Correct the source or the suite; "
            f"Data Docs: {docs_uri}"
        )
    if findings.critical and spec.on_value_skew == "fail":
        raise RejectedError(
            f"value skew in {spec.dataset.uri}: {_listed(findings.critical)}. Correct the source, or set on_value_skew "
            f"to 'warn' or 'continue' to go on; Data Docs: {docs_uri}"
        )


def _listed(lines: tuple[str, ...]) -> str:
    more = f"; and {len(lines) - 5} more" if len(lines) > 5 else ""
    return "; ".join(lines[:5]) + more


STEP = Step("validate_data", ValidateDataSpec, ValidateDataResult, validate_data, extras=("validation",))
