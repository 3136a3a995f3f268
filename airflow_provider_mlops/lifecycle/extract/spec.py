"""The fields of the step `extract` and what it returns."""

from __future__ import annotations

from datetime import timedelta

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationInfo, field_validator

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.lifecycle.extract.increment import (
    Increment,
)
from airflow_provider_mlops.lifecycle.extract.sources import (
    Source,
)
from airflow_provider_mlops.lifecycle.step import Result, Spec


class Freshness(BaseModel):
    """How recent the newest row must be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str = Field(description="A time: a timestamp or a date, ISO 8601 text, or seconds since 1970.")
    max_age: timedelta = Field(
        gt=timedelta(0),
        description="How old the newest row may be: at the end of the run's data interval if the extraction is "
        "incremental by interval, and otherwise now.",
    )


class ExtractSpec(Spec):
    """What to extract."""

    dataset_name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        description="What the dataset is called: letters, digits, `_`, `-` and `.`.",
    )
    source: Source = Field(
        description="Where the rows come from: an `SqlSource`, `FilesSource`, `IbisSource`, `SklearnSource` or "
        "`CodeSource`, or a dictionary with its `kind` (sql, files, ibis, sklearn, code) and its fields."
    )
    incremental: Increment | None = Field(
        default=None,
        description="Take only what is new: the rows of the run's data interval (`kind: interval`), or those past the "
        "greatest value that earlier runs have seen (`kind: watermark`), by a `column`. By default all rows.",
    )
    min_rows: int = Field(default=1, ge=0, description="With fewer rows the data is rejected.")
    max_rows: int | None = Field(default=None, ge=0, description="With more rows the data is rejected.")
    freshness: Freshness | None = Field(
        default=None, description="Reject the data if its newest row is too old: a `column` and its `max_age`."
    )
    batch_rows: int = Field(
        default=100_000, ge=1, description="How many rows are in memory at a time, where the source can be streamed."
    )

    @field_validator("max_rows")
    @classmethod
    def _bounds_in_order(cls, max_rows: int | None, info: ValidationInfo) -> int | None:
        min_rows = info.data.get("min_rows", 0)
        if max_rows is not None and max_rows < min_rows:
            raise ValueError(f"it must not be below min_rows, which is {min_rows}")
        return max_rows


class ExtractResult(Result):
    """The dataset, and how far the extraction has come."""

    dataset: Dataset = Field(description="The extracted rows.")
    rows: int = Field(description="How many rows there are.")
    fingerprint: str = Field(description="The hash of the content; the same rows give the same one, in any order.")
    watermark: JsonValue = Field(
        default=None, description="The greatest value of the watermark column so far; times are ISO 8601 text."
    )
