"""The manifest of a dataset: the file that makes it visible."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from airflow_provider_mlops.data.task_identity import TaskIdentity

MANIFEST = "manifest.json"
"""Name of the manifest's file."""


class Column(BaseModel):
    """The name of a column and its Arrow type, as Arrow writes it: `double`, `string`, `timestamp[us, tz=UTC]`."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(description="Name of the column.")
    type: str = Field(description="Arrow type of the column.")


class Manifest(BaseModel):
    """The description of a dataset: its rows, columns, files and origin."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(description="Name of the dataset.")
    rows: int = Field(description="Number of rows.")
    fingerprint: str = Field(description="Hash of the columns and the rows, regardless of the rows' order.")
    columns: tuple[Column, ...] = Field(description="Columns, in order.")
    files: tuple[str, ...] = Field(description="Names of the Parquet files, in order.")
    bytes: int = Field(description="Total size of the Parquet files, in bytes.")
    source: dict[str, JsonValue] = Field(default_factory=dict, description="Source that the rows were read from.")
    interval: tuple[datetime, datetime] | None = Field(
        default=None, description="Start and end of the interval that was extracted; null if there was none."
    )
    watermark: JsonValue = Field(default=None, description="Largest value of the column for incremental extraction.")
    parents: tuple[str, ...] = Field(
        default=(), description="Fingerprints of the datasets that the dataset was made from."
    )
    spec_digest: str | None = Field(default=None, description="Hash of the spec of the step that made the dataset.")
    created_at: datetime = Field(description="Time of the commit, in UTC.")
    created_by: TaskIdentity | None = Field(default=None, description="Task that made the dataset.")
