"""The five kinds of source that extract reads."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator

from airflow_provider_mlops.errors import FieldError
from airflow_provider_mlops.lifecycle.user_code import UserCode


class _Source(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SqlSource(_Source):
    """The rows of a query over a database connection, streamed in batches."""

    kind: Literal["sql"] = "sql"
    query: str = Field(
        description="The SELECT statement. It may refer to `:interval_start`, `:interval_end`, `:watermark` and the "
        "names of `parameters`."
    )
    connection: str = Field(description="The Airflow connection of the database.")
    parameters: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="Values for each `:name` in the query. They are sent separately from its text, so they need no "
        "quotes.",
    )

    @field_validator("query")
    @classmethod
    def _strip_semicolon(cls, query: str) -> str:
        query = query.strip().rstrip(";").rstrip()
        if not query:
            raise FieldError("query", "it must be a SELECT statement")
        return query


class FilesSource(_Source):
    """Files at any fsspec path: one, several, or all that match a pattern."""

    kind: Literal["files"] = "files"
    paths: str | tuple[str, ...] = Field(
        description="One or several paths or URIs, for example `/data/customers.csv` or "
        "`s3://bucket/2026/*.parquet`. For a directory, the files directly in it are read."
    )
    format: Literal["csv", "parquet", "jsonl"] | None = Field(
        default=None,
        description="Format of the files. By default it is inferred from each file's name, also for compressed text "
        "such as `.csv.gz` and `.jsonl.zst`.",
    )
    encoding: str = Field(default="utf-8", description="Encoding of the text in CSV files, for example `latin-1`.")


class IbisSource(_Source):
    """An Ibis expression, computed by its backend and streamed from it."""

    kind: Literal["ibis"] = "ibis"
    expression: UserCode = Field(
        description="A function that takes `connection`, the Ibis backend, and returns an Ibis table."
    )
    backend: str | None = Field(
        default=None,
        description="Ibis URL of the backend, for example `duckdb:///data/warehouse.duckdb`. Defaults to a new "
        "in-memory DuckDB database. Store a URL with a password in an Airflow connection and set "
        "`connection`.",
    )
    connection: str | None = Field(
        default=None, description="The Airflow connection that holds the backend's URL. Use it instead of `backend`."
    )


class SklearnSource(_Source):
    """A dataset that is bundled with scikit-learn."""

    kind: Literal["sklearn"] = "sklearn"
    name: str = Field(
        default="breast_cancer",
        description="Name of the dataset: `breast_cancer`, `diabetes`, `digits`, `iris`, `linnerud` or `wine`.",
    )


class CodeSource(_Source):
    """Rows that a function of yours returns."""

    kind: Literal["code"] = "code"
    function: UserCode = Field(
        description="A function that returns a pandas DataFrame, an Arrow table, or an iterator of either. The items "
        "of an iterator are written one by one. The function may take the arguments `interval_start`, `interval_end` "
        "and `watermark`."
    )


Source = Annotated[SqlSource | FilesSource | IbisSource | SklearnSource | CodeSource, Field(discriminator="kind")]


class ReadAgainError(Exception):
    """The column types inferred so far are wrong, so the source must be read again from the start."""
