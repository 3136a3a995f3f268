"""The fields and the result of the step `extract`."""

from __future__ import annotations

import re
from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationInfo, field_validator

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.errors import FieldError
from airflow_provider_mlops.lifecycle.extract.increment import Increment
from airflow_provider_mlops.lifecycle.extract.sources import Source
from airflow_provider_mlops.lifecycle.step import Result, Spec


class Freshness(BaseModel):
    """The required age of the newest row."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str = Field(
        description="A column of times: timestamps, dates, ISO 8601 text, or numbers (seconds, milliseconds or "
        "microseconds since 1970)."
    )
    max_age: timedelta = Field(
        gt=timedelta(0),
        description="Maximum age of the newest row. It is measured at the end of the run's data interval if "
        "`incremental` is an interval, and otherwise at the time of the extraction.",
    )


class ExtractSpec(Spec):
    """The fields of the step `extract`."""

    dataset_name: str = Field(
        description="Name of the dataset. It may contain letters, digits, `_`, `-` and `.`, and begins with a letter "
        "or a digit."
    )
    source: Source = Field(
        description="Source of the rows: an `SqlSource`, `FilesSource`, `IbisSource`, `SklearnSource` or "
        "`CodeSource`, or a dictionary with its `kind` (`sql`, `files`, `ibis`, `sklearn`, `code`) and its fields."
    )
    incremental: Increment | None = Field(
        default=None,
        description="Extract only new rows. `kind: interval`: the rows in the run's data interval; `kind: watermark`: "
        "the rows whose `column` is greater than in all rows extracted before. By default, all rows are extracted.",
    )
    min_rows: int = Field(default=1, ge=0, description="Minimum number of rows. Data with fewer rows is rejected.")
    max_rows: int | None = Field(
        default=None,
        ge=0,
        description="Maximum number of rows. Data with more rows is rejected. By default, there is no limit.",
    )
    freshness: Freshness | None = Field(
        default=None,
        description="Reject the data if its newest row is older than `max_age`, according to the times in `column`. "
        "By default, the age is not checked.",
    )
    batch_rows: int = Field(
        default=100_000, ge=1, description="Number of rows held in memory at a time, if the source can be streamed."
    )

    @field_validator("dataset_name")
    @classmethod
    def _check_characters(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
            raise FieldError(
                "dataset_name",
                "it must contain only letters, digits, '_', '-' and '.', and begin with a letter or a digit",
            )
        return name

    @field_validator("max_rows")
    @classmethod
    def _check_bounds(cls, max_rows: int | None, info: ValidationInfo) -> int | None:
        min_rows = info.data.get("min_rows", 0)
        if max_rows is not None and max_rows < min_rows:
            raise FieldError("max_rows", f"it must not be less than min_rows, which is {min_rows}")
        return max_rows


class ExtractResult(Result):
    """The result of the step `extract`."""

    dataset: Dataset = Field(description="The extracted rows.")
    rows: int = Field(description="Number of rows.")
    fingerprint: str = Field(description="Hash of the content. The same rows in any order have the same fingerprint.")
    watermark: JsonValue = Field(
        default=None,
        description="The greatest value of the watermark column so far; times are ISO 8601 text. None without a "
        "watermark.",
    )
