"""What is known of a table's columns once its rows are gone.

A profile is small, is JSON, and is what monitoring and data validation compare later rows with, so
that nobody has to keep the reference rows.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.errors import InvalidSpecError

Kind = Literal["numeric", "categorical", "boolean", "temporal", "other"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Histogram(_Part):
    """Counts between edges; there is one edge more than there are counts."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


class TopValue(_Part):
    """A value and the number of rows that have it."""

    value: JsonValue
    count: int


class Association(_Part):
    """How strongly a column goes with the target.

    `measure` is `pearson` or `spearman` (-1 to 1) for two numbers, `cramers_v` (0 to 1, bias-corrected)
    for two categories, and `correlation_ratio` (0 to 1) for a number and a category.
    """

    measure: Literal["pearson", "spearman", "cramers_v", "correlation_ratio"]
    value: float


class Leakage(_Part):
    """A column that probably knows the target, or names the row, and the reason for the suspicion."""

    column: str
    reason: str


class BinCounts(_Part):
    """Counts of rows per bin, in an order that only depends on the reference profile.

    Two of them made from the same `ColumnProfile` have the same labels, so their counts can be compared
    place by place. The first bin holds the missing values.
    """

    labels: tuple[str, ...]
    counts: tuple[int, ...]

    @property
    def rows(self) -> int:
        """How many rows were counted."""
        return sum(self.counts)


class ColumnProfile(_Part):
    """One column.

    Missing values (NULL, and NaN, which pandas writes for it) and infinite ones are counted and then left out of
    everything else. Times are measured in seconds since 1970-01-01 UTC wherever a number is needed; `minimum` and
    `maximum` of times are ISO 8601 text.
    """

    name: str
    type: str = Field(description="The engine's type, as Ibis writes it: `float64`, `string`, `timestamp('UTC')`.")
    kind: Kind
    rows: int
    nulls: int = 0
    infinite: int = 0
    distinct: int | None = None
    minimum: JsonValue = None
    maximum: JsonValue = None
    mean: float | None = None
    std: float | None = Field(default=None, description="The sample standard deviation (n - 1).")
    quantiles: dict[str, float] = Field(default_factory=dict, description="By probability: `{'0.5': 13.4}`.")
    histogram: Histogram | None = Field(
        default=None,
        description="Bins of equal width, for looking at. A bin holds its left edge; the last one holds both.",
    )
    bins: Histogram | None = Field(
        default=None,
        description="Bins of about equal counts, for comparing. A bin holds its right edge; the first one holds both, "
        "and has no width where one value makes up a whole bin.",
    )
    top_values: tuple[TopValue, ...] = ()
    associations: tuple[Association, ...] = ()
    identifier_like: bool = False

    @property
    def values(self) -> int:
        """The rows that have a finite value."""
        return self.rows - self.nulls - self.infinite

    @property
    def bin_counts(self) -> BinCounts | None:
        """The reference's own counts in the bins that `data.profiling.bin_like` counts other rows in.

        For numbers and times: missing, below the minimum, the bins, above the maximum (an infinite value
        is below or above). For categories: missing, the top values, other. None for columns of kind `other`, for those
        without a single value, and for large categorical columns in which no value is frequent.
        """
        labels = bin_labels(self)
        if labels is None:
            return None
        if self.bins is not None:
            # On which side the reference's infinite values lie is not kept; they are rare enough to be called above.
            return BinCounts(labels=labels, counts=(self.nulls, 0, *self.bins.counts, self.infinite))
        top = tuple(top.count for top in self.top_values)
        return BinCounts(labels=labels, counts=(self.nulls, *top, self.rows - self.nulls - sum(top)))


class SliceProfile(_Part):
    """How many rows each value of a slicing column has, most frequent first."""

    column: str
    counts: tuple[TopValue, ...]
    other: int = Field(default=0, description="Rows of the values that are not listed.")


class Profile(_Part):
    """A table's columns, and what they say together."""

    rows: int
    columns: tuple[ColumnProfile, ...]
    target: str | None = None
    problem: Literal["classification", "regression"] | None = None
    duplicate_rows: int = Field(default=0, description="Rows that repeat an earlier row in every column.")
    class_balance: dict[str, float] | None = Field(
        default=None, description="The share of each class among the rows that have one."
    )
    suspected_leakage: tuple[Leakage, ...] = ()
    slices: tuple[SliceProfile, ...] = ()
    approximate: tuple[str, ...] = Field(
        default=(), description="Which figures are estimates, because the table is large: e.g. `distinct`, `quantiles`."
    )
    dataset_uri: str | None = None
    dataset_fingerprint: str | None = None
    created_at: datetime = Field(default_factory=lambda: datetime.now(UTC))

    def column(self, name: str) -> ColumnProfile:
        """The column called `name`. Raises InvalidSpecError, which lists the columns there are."""
        for column in self.columns:
            if column.name == name:
                return column
        raise InvalidSpecError("column", name, f"the profile has the columns {list_names(self.names)}")

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def inferred_schema(self) -> dict[str, str]:
        """The type of each column by name."""
        return {column.name: column.type for column in self.columns}

    @classmethod
    def read(cls, uri: str) -> Self:
        """The profile at `uri`. Raises InvalidSpecError if there is none, or none that can be read."""
        try:
            return cls.model_validate_json(storage.read_text(uri))
        except FileNotFoundError:
            raise InvalidSpecError(
                "profile_uri", uri, "nothing lies there: run the analyze step first, or correct the URI"
            ) from None
        except ValidationError as error:
            raise InvalidSpecError(
                "profile_uri", uri, f"this is not a profile ({error.error_count()} errors): run the analyze step again"
            ) from error

    def write(self, uri: str) -> str:
        """Write the profile to `uri` and return the URI."""
        storage.write_text(uri, self.model_dump_json(indent=1))
        return uri


def bin_labels(column: ColumnProfile) -> tuple[str, ...] | None:
    """The names of the bins of `ColumnProfile.bin_counts`."""
    if column.bins is not None:
        edges = [f"{edge:.12g}" for edge in column.bins.edges]
        ranges = tuple(f"({low}, {high}]" for low, high in pairwise(edges[1:]))
        return ("missing", f"below {edges[0]}", f"[{edges[0]}, {edges[1]}]", *ranges, f"above {edges[-1]}")
    if column.kind in ("categorical", "boolean") and column.top_values:
        return ("missing", *(f"= {top.value}" for top in column.top_values), "other")
    return None


def list_names(names: tuple[str, ...] | list[str], at_most: int = 20) -> str:
    """Names for a message, not too many.

    >>> list_names(["a", "b", "c"], at_most=2)
    "'a', 'b' and 1 more"
    """
    shown = ", ".join(repr(name) for name in names[:at_most])
    return f"{shown} and {len(names) - at_most} more" if len(names) > at_most else shown
