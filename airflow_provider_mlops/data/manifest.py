"""What is known of a dataset: the file that makes it visible."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from airflow_provider_mlops.data.lineage import TaskIdentity

MANIFEST = "manifest.json"
"""The name of the file."""


class Column(BaseModel):
    """A column's name and its Arrow type, as Arrow writes it: `double`, `string`, `timestamp[us, tz=UTC]`."""

    model_config = ConfigDict(frozen=True)

    name: str
    type: str


class Manifest(BaseModel):
    """What is known of a dataset; the file that makes it visible."""

    model_config = ConfigDict(frozen=True)

    name: str
    rows: int
    fingerprint: str
    columns: tuple[Column, ...]
    files: tuple[str, ...]
    bytes: int
    source: dict[str, JsonValue] = Field(default_factory=dict)
    interval: tuple[datetime, datetime] | None = None
    watermark: JsonValue = None
    parents: tuple[str, ...] = ()
    spec_digest: str | None = None
    created_at: datetime
    created_by: TaskIdentity | None = None
