"""The fields of the step `validate_data` and what it returns."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.step import Result, Spec
from airflow_provider_mlops.lifecycle.user_code import UserCode

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
    max_rows: int | None = Field(
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
    rows_checked: int = Field(description="On how many rows values were checked: all, or `max_rows` about.")
    data_docs_uri: str = Field(description="The Data Docs page.")
    mlflow_run_id: str = Field(description="The MLflow run that holds the verdict and the counts.")
