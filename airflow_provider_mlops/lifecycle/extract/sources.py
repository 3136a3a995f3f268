"""Where data comes from: the five kinds of source that extract reads."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator

from airflow_provider_mlops.lifecycle.user_code import UserCode


class _Source(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SqlSource(_Source):
    """The rows of a query over a database connection, streamed in batches."""

    kind: Literal["sql"] = "sql"
    query: str = Field(
        description="The SELECT statement. `:interval_start`, `:interval_end` and `:watermark` may stand in it, as may "
        "the names of `parameters`."
    )
    connection: str = Field(description="The Airflow connection of the database.")
    parameters: dict[str, JsonValue] = Field(
        default_factory=dict, description="Values for `:name` in the query, sent apart from its text."
    )

    @field_validator("query")
    @classmethod
    def _without_semicolon(cls, query: str) -> str:
        query = query.strip().rstrip(";").rstrip()
        if not query:
            raise ValueError("write a SELECT statement")
        return query


class FilesSource(_Source):
    """Files on any fsspec path: one, many, or all that a pattern matches."""

    kind: Literal["files"] = "files"
    paths: str | tuple[str, ...] = Field(
        description="A path or URI, or several: `/data/customers.csv`, `s3://bucket/2026/*.parquet`. A directory means "
        "the files directly in it."
    )
    format: Literal["csv", "parquet", "jsonl"] | None = Field(
        default=None,
        description="What the files are. By default it follows from each file's name; compressed text "
        "(`.csv.gz`, `.jsonl.zst`) is recognised too.",
    )
    encoding: str = Field(default="utf-8", description="How the text of CSV files is written, e.g. `latin-1`.")


class IbisSource(_Source):
    """An Ibis expression, computed by its backend and streamed from it."""

    kind: Literal["ibis"] = "ibis"
    expression: UserCode = Field(description="A function that is given `connection`, the backend, and returns a table.")
    backend: str | None = Field(
        default=None,
        description="The backend's Ibis URL, such as `duckdb:///data/warehouse.duckdb`. By default a fresh DuckDB. "
        "A URL with a password belongs into `connection`.",
    )
    connection: str | None = Field(
        default=None, description="The Airflow connection that holds the backend's URL, in place of `backend`."
    )


class SklearnSource(_Source):
    """A data set that is bundled with scikit-learn."""

    kind: Literal["sklearn"] = "sklearn"
    name: str = Field(
        default="breast_cancer", description="`breast_cancer`, `diabetes`, `digits`, `iris`, `linnerud` or `wine`."
    )


class CodeSource(_Source):
    """Rows that a function of the user's returns."""

    kind: Literal["code"] = "code"
    function: UserCode = Field(
        description="Returns a pandas DataFrame, an Arrow table, or an iterator of either, which is written batch by "
        "batch. It may name the arguments `interval_start`, `interval_end` and `watermark`."
    )


Source = Annotated[SqlSource | FilesSource | IbisSource | SklearnSource | CodeSource, Field(discriminator="kind")]


class ReadAgain(Exception):
    """What the source has learnt of its columns makes what was read so far wrong: read it from the start."""
