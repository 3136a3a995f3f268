"""Profiles: what remains known of a table's columns without its rows.

A profile is small and is JSON. Monitoring and data validation compare later rows with it, so the reference rows need
not be kept.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.data.names import must_be_a_column, pluralize
from airflow_provider_mlops.errors import InvalidSpecError

Kind = Literal["numeric", "categorical", "boolean", "temporal", "other"]
"""Kind of statistics that a column has."""

Measure = Literal["pearson", "spearman", "cramers_v", "correlation_ratio"]
"""Measure of association between a column and the target."""

Problem = Literal["classification", "regression"]
"""Kind of learning that a target asks for."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Histogram(_Part):
    """Counts between edges. There is one more edge than there are counts."""

    edges: tuple[float, ...] = Field(description="Edges of the bins, in ascending order.")
    counts: tuple[int, ...] = Field(description="Number of rows in each bin.")


class TopValue(_Part):
    """A value and the number of rows that have it."""

    value: JsonValue = Field(description="Value; null stands for missing values.")
    count: int = Field(description="Number of rows with the value.")


class Association(_Part):
    """The strength of the association between a column and the target."""

    measure: Measure = Field(
        description="Measure of association: `pearson` or `spearman` for two numbers, `cramers_v` for two categories, "
        "`correlation_ratio` for a number and a category."
    )
    value: float = Field(
        description="Strength of the association: from -1 to 1 for `pearson` and `spearman`; from 0 to 1 for "
        "`cramers_v` (bias-corrected) and `correlation_ratio`."
    )


class Leakage(_Part):
    """A column that probably contains the target or identifies the row."""

    column: str = Field(description="Name of the column.")
    reason: str = Field(description="Reason for the suspicion.")


class BinCounts(_Part):
    """Counts of rows per bin, in an order that only depends on the reference profile.

    Two of them that were made from the same `ColumnProfile` have the same labels, so their counts can be compared bin
    by bin. The first bin counts missing values.
    """

    labels: tuple[str, ...] = Field(description="Names of the bins.")
    counts: tuple[int, ...] = Field(description="Number of rows in each bin.")

    @property
    def rows(self) -> int:
        """Number of rows that were counted."""
        return sum(self.counts)


class ColumnProfile(_Part):
    """The profile of one column.

    Missing values (NULL, and NaN, which pandas writes instead) and infinite values are counted and excluded from all
    other figures. In figures that need numbers, times are seconds since 1970-01-01 UTC.
    """

    name: str = Field(description="Name of the column.")
    type: str = Field(description="Type of the column as Ibis writes it: `float64`, `string`, `timestamp('UTC')`.")
    kind: Kind = Field(description="Kind of the column, which determines its statistics.")
    rows: int = Field(description="Number of rows of the table.")
    nulls: int = Field(default=0, description="Number of missing values, NaN included.")
    infinite: int = Field(default=0, description="Number of infinite values.")
    distinct: int | None = Field(default=None, description="Number of distinct values.")
    minimum: JsonValue = Field(default=None, description="Smallest value; times are ISO 8601 text.")
    maximum: JsonValue = Field(default=None, description="Largest value; times are ISO 8601 text.")
    mean: float | None = Field(default=None, description="Mean of the values.")
    std: float | None = Field(default=None, description="Sample standard deviation (n - 1).")
    quantiles: dict[str, float] = Field(default_factory=dict, description="Quantiles by probability: `{'0.5': 13.4}`.")
    histogram: Histogram | None = Field(
        default=None,
        description="Bins of equal width, for plots. A bin includes its left edge; the last bin includes both edges.",
    )
    bins: Histogram | None = Field(
        default=None,
        description="Bins with about the same number of rows each, for comparisons. A bin includes its right edge. "
        "The first bin includes both edges; they are equal if the smallest value alone fills the bin.",
    )
    top_values: tuple[TopValue, ...] = Field(default=(), description="Most frequent values, most frequent first.")
    associations: tuple[Association, ...] = Field(default=(), description="Associations with the target.")
    identifier_like: bool = Field(
        default=False, description="Whether every row has a different value, as in a column of identifiers."
    )

    @property
    def values(self) -> int:
        """Number of rows that have a finite value."""
        return self.rows - self.nulls - self.infinite

    @property
    def bin_counts(self) -> BinCounts | None:
        """Counts of the reference rows in the bins that `data.binning.bin_like` counts other rows in.

        The bins of numbers and times are: missing, below the minimum, the bins, above the maximum. An infinite value is
        below or above. Those of categories are: missing, the top values, other. None for columns of kind `other`, for
        columns without values, and for large categorical columns without frequent values.
        """
        labels = bin_labels(self)
        if labels is None:
            return None
        if self.bins is not None:
            # The sign of the reference's infinite values is not kept; they are rare enough to count as above.
            return BinCounts(labels=labels, counts=(self.nulls, 0, *self.bins.counts, self.infinite))
        top = tuple(top.count for top in self.top_values)
        return BinCounts(labels=labels, counts=(self.nulls, *top, self.rows - self.nulls - sum(top)))


class SliceProfile(_Part):
    """The number of rows for each value of a slicing column."""

    column: str = Field(description="Name of the column.")
    counts: tuple[TopValue, ...] = Field(description="Values and their numbers of rows, most frequent first.")
    other: int = Field(default=0, description="Number of rows whose value is not listed.")


class Profile(_Part):
    """The profile of a table."""

    rows: int = Field(description="Number of rows of the table.")
    columns: tuple[ColumnProfile, ...] = Field(description="Profiles of the columns, in order.")
    target: str | None = Field(default=None, description="Column to predict, if one was given.")
    problem: Problem | None = Field(
        default=None, description="`classification` or `regression`, depending on the target; null without a target."
    )
    duplicate_rows: int = Field(default=0, description="Number of rows that equal an earlier row in every column.")
    class_balance: dict[str, float] | None = Field(
        default=None, description="Proportion of each class of the target. Rows without a class are not counted."
    )
    suspected_leakage: tuple[Leakage, ...] = Field(
        default=(), description="Columns that probably contain the target or identify the row."
    )
    slices: tuple[SliceProfile, ...] = Field(default=(), description="Numbers of rows by slice.")
    approximate: tuple[str, ...] = Field(
        default=(),
        description="Names of figures that are only estimated because the table is large, such as `distinct`.",
    )
    dataset_uri: str | None = Field(default=None, description="URI of the dataset.")
    dataset_fingerprint: str | None = Field(default=None, description="Fingerprint of the dataset.")
    created_at: datetime = Field(
        default_factory=lambda: datetime.now(UTC), description="Time at which the profile was made, in UTC."
    )

    def column(self, name: str) -> ColumnProfile:
        """Return the profile of a column. Raises InvalidSpecError if there is no such column."""
        for column in self.columns:
            if column.name == name:
                return column
        raise InvalidSpecError("column", name, must_be_a_column(name, self.names, "the profile"))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def inferred_schema(self) -> dict[str, str]:
        """Type of each column, by name."""
        return {column.name: column.type for column in self.columns}

    @classmethod
    def read(cls, uri: str) -> Self:
        """Return the profile at `uri`. Raises InvalidSpecError if it does not exist or is not valid."""
        try:
            return cls.model_validate_json(storage.read_text(uri))
        except FileNotFoundError:
            raise InvalidSpecError(
                "profile_uri",
                uri,
                "there is no profile at this URI. Run the analyze step first, or correct the URI",
            ) from None
        except ValidationError as error:
            raise InvalidSpecError(
                "profile_uri",
                uri,
                f"the file is not a profile ({pluralize(error.error_count(), 'error')}). Run the analyze step again",
            ) from error

    def write(self, uri: str) -> str:
        """Write the profile to `uri` and return the URI."""
        storage.write_text(uri, self.model_dump_json(indent=1))
        return uri


def bin_labels(column: ColumnProfile) -> tuple[str, ...] | None:
    """Return the names of the bins of `ColumnProfile.bin_counts`."""
    if column.bins is not None:
        edges = [f"{edge:.12g}" for edge in column.bins.edges]
        ranges = tuple(f"({low}, {high}]" for low, high in pairwise(edges[1:]))
        return ("missing", f"below {edges[0]}", f"[{edges[0]}, {edges[1]}]", *ranges, f"above {edges[-1]}")
    if column.kind in ("categorical", "boolean") and column.top_values:
        return ("missing", *(f"= {top.value}" for top in column.top_values), "other")
    return None
