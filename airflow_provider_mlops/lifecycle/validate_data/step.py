"""Data validation: does a dataset meet the expectations, and may the pipeline go on with it?"""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.errors import InvalidSpecError, RejectedError
from airflow_provider_mlops.lifecycle.result_size import cut, first
from airflow_provider_mlops.lifecycle.step import Result, Spec, Step
from airflow_provider_mlops.lifecycle.user_code import UserCode

if TYPE_CHECKING:
    from airflow_provider_mlops.data.profile import Profile
    from airflow_provider_mlops.lifecycle.validate_data.findings import Findings
    from airflow_provider_mlops.lifecycle.workspace import Workspace

log = logging.getLogger(__name__)

Verdict = Literal["passed", "warned", "failed"]


class ValidateDataSpec(Spec):
    """What to expect of a dataset. Exactly one of `suite_file`, `suite_code` and `reference_profile_uri` is given."""

    dataset: Dataset = Field(description="The rows to validate.")
    suite_file: str | None = Field(
        default=None,
        description="A JSON file with a Great Expectations suite, on any fsspec path: a name and a list of "
        "expectations, each with `type`, `kwargs` and, if it is not `critical`, a `severity`.",
    )
    suite_code: UserCode | None = Field(
        default=None,
        description="A function that returns a Great Expectations `ExpectationSuite` or a list of expectations. It may "
        "take `columns` (the types by name) and `dataset`.",
    )
    reference_profile_uri: str | None = Field(
        default=None,
        description="The profile of earlier rows, from the analyze step: the same columns and types are expected, and "
        "values like those, with a margin for chance.",
    )
    on_value_skew: Literal["fail", "warn", "continue"] = Field(
        default="fail",
        description="What a failed `critical` expectation about values does: stop the run, go on with the verdict "
        "`warned`, or go on with the verdict `failed`. A failed `warning` never stops the run, its verdict is "
        "`warned`; a failed `info` changes nothing. **Schema skew always stops the run**: wrong columns or types, and "
        "missing values where none may be. An expectation's `meta` may say otherwise, with "
        '`{"skew": "schema"}` or `{"skew": "value"}`.',
    )
    maximum_rows: int | None = Field(
        default=2_000_000,
        ge=1,
        description="Values of larger datasets are checked on a random sample of about this many rows, the same every "
        "time, so that memory stays bounded: about 100 bytes a row and column, one column at a time. `null` checks all "
        "rows. Columns, types and the number of rows are those of the whole dataset in any case.",
    )

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        given = [name for name in _SOURCES if getattr(self, name) is not None]
        if len(given) != 1:
            raise InvalidSpecError(
                " / ".join(_SOURCES), given or None, f"give exactly one of the three, not {len(given)}"
            )
        return self


_SOURCES = ("suite_file", "suite_code", "reference_profile_uri")


class ValidateDataResult(Result):
    """The verdict, and what did not hold."""

    dataset: Dataset = Field(description="The dataset as it came, so that the next step can be wired to this one.")
    verdict: Verdict = Field(description="`passed`, `warned` or `failed`.")
    expectations: int = Field(description="How many expectations were checked.")
    failed_expectations: int = Field(description="How many of them do not hold, of any severity.")
    schema_skew: tuple[str, ...] = Field(description="What is wrong with columns and types; the first ones.")
    value_skew: tuple[str, ...] = Field(description="What is wrong with values; the first ones.")
    rows_checked: int = Field(description="On how many rows values were checked: all, or `maximum_rows` about.")
    data_docs_uri: str = Field(description="The Data Docs page.")
    mlflow_run_id: str = Field(description="The MLflow run that holds the verdict and the counts.")


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
    with workspace.registry().run(workspace.task, "validate_data") as run:
        log.info("Checking %d expectations on %s: %d rows", len(suite.expectations), spec.dataset.name, manifest.rows)
        outcome, rows_checked = run_suite(spec.dataset, suite, spec.maximum_rows)
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
        raise InvalidSpecError("reference_profile_uri", error.value, error.way_out) from error


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


STEP = Step("validate_data", ValidateDataSpec, ValidateDataResult, validate_data)
