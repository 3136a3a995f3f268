"""The fields and the result of the step `validate_data`."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.errors import FieldError
from airflow_provider_mlops.lifecycle.step import Result, Spec
from airflow_provider_mlops.lifecycle.user_code import UserCode

Verdict = Literal["passed", "warned", "failed"]


class ValidateDataSpec(Spec):
    """The fields of the step `validate_data`.

    Exactly one of `suite_file`, `suite_code` and `reference_profile_uri` must be set.
    """

    dataset: Dataset = Field(description="The rows to validate.")
    suite_file: str | None = Field(
        default=None,
        description="Path or URI of a JSON file with a Great Expectations suite: a `name` and a list of "
        "`expectations`, each with a `type`, its `kwargs` and optionally a `severity` (`critical` by default, "
        "`warning` or `info`).",
    )
    suite_code: UserCode | None = Field(
        default=None,
        description="A function that returns a Great Expectations `ExpectationSuite` or a list of expectations. It "
        "may take `columns` (a dictionary of the column types by name) and `dataset`.",
    )
    reference_profile_uri: str | None = Field(
        default=None,
        description="URI of the profile of earlier rows, made by the step `analyze`. The dataset is expected to have "
        "the same columns and types and similar values, with a margin for chance.",
    )
    on_value_skew: Literal["fail", "warn", "continue"] = Field(
        default="fail",
        description="Reaction to a failed `critical` expectation about values. `fail`: stop the run; `warn`: continue "
        "with the verdict `warned`; `continue`: continue with the verdict `failed`. If the failed expectation has the "
        "severity `warning`, the run continues with the verdict `warned`; with `info`, nothing changes. **Schema skew "
        "always stops the run**: wrong columns or types, and missing values that are not allowed. To decide whether "
        'an expectation counts as schema skew or value skew, set its `meta` to `{"skew": "schema"}` or `{"skew": '
        '"value"}`.',
    )
    max_rows: int | None = Field(
        default=2_000_000,
        ge=1,
        description="Approximate maximum number of rows on which values are checked. If the dataset has more, values "
        "are checked on a random sample of about this size, which is the same in every run. This limits memory: "
        "about 100 bytes per row, one column at a time. `None` checks all rows. Columns, types and the number of "
        "rows are always checked on the whole dataset.",
    )

    @model_validator(mode="after")
    def _check_suite(self) -> Self:
        given = [name for name in SUITE_FIELDS if getattr(self, name) is not None]
        if len(given) != 1:
            raise FieldError(
                given[1] if given else SUITE_FIELDS[0],
                f"exactly one of suite_file, suite_code and reference_profile_uri must be set, not {len(given)}",
            )
        return self


SUITE_FIELDS = ("suite_file", "suite_code", "reference_profile_uri")
"""The fields that name the expectations, of which exactly one is set."""


class ValidateDataResult(Result):
    """The result of the step `validate_data`."""

    dataset: Dataset = Field(description="The validated dataset, unchanged, as input of the next step.")
    verdict: Verdict = Field(description="Verdict: `passed`, `warned` or `failed`.")
    expectations: int = Field(description="Number of expectations that were checked.")
    failed_expectations: int = Field(description="Number of expectations that failed, of any severity.")
    schema_skew: tuple[str, ...] = Field(
        description="The first findings about columns and types. The MLflow run has all of them."
    )
    value_skew: tuple[str, ...] = Field(description="The first findings about values. The MLflow run has all of them.")
    rows_checked: int = Field(description="Number of rows on which values were checked: all rows, or about `max_rows`.")
    data_docs_uri: str = Field(description="URI of the Data Docs page.")
    mlflow_run_id: str = Field(description="ID of the MLflow run with the verdict, the counts and all findings.")
