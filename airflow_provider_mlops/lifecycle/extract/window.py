"""Windows: the range of a column's values that a run extracts, in whatever form the column stores times."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.data.names import must_be_a_column
from airflow_provider_mlops.errors import InvalidSpecError

if TYPE_CHECKING:
    import pyarrow


@dataclass(frozen=True)
class Window:
    """A range of a column's values.

    Parameters
    ----------
    column
        Name of the column.
    low, high
        Ends of the range; None means that there is no limit.
    low_open, high_open
        Whether the range excludes its end.
    times
        Whether the ends are times, which the column may store in any form.
    """

    column: str
    low: Any = None
    high: Any = None
    low_open: bool = False
    high_open: bool = False
    times: bool = False

    def filter(self, table: pyarrow.Table) -> pyarrow.Table:
        """Return the rows of a batch that are inside the window.

        Raises
        ------
        InvalidSpecError
            If the column's type cannot be compared with the ends of the window.
        """
        import pyarrow
        import pyarrow.compute as compute

        if self.low is None and self.high is None:
            return table
        values = as_times(table[self.column], self.column) if self.times else table[self.column]
        inside = None
        for end, compare in (
            (self.low, compute.greater if self.low_open else compute.greater_equal),
            (self.high, compute.less if self.high_open else compute.less_equal),
        ):
            if end is None:
                continue
            limit = end.astimezone(UTC).replace(tzinfo=None) if self.times else _comparable(end, values.type)
            scalar_type = None if pyarrow.types.is_null(values.type) else values.type
            try:
                within_end = compare(values, pyarrow.scalar(limit, type=scalar_type))
            except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError, pyarrow.ArrowNotImplementedError) as error:
                is_time = isinstance(end, date)
                shown = end.isoformat() if is_time else repr(end)
                use = "Use a column of times" if is_time else "Use a column whose type matches the watermark"
                raise InvalidSpecError(
                    "incremental.column",
                    self.column,
                    f"values of type {values.type} cannot be compared with {shown} ({error}). {use}",
                ) from error
            inside = within_end if inside is None else compute.and_(inside, within_end)
        return table.filter(inside)


def as_times(column: pyarrow.ChunkedArray, name: str) -> pyarrow.ChunkedArray:
    """Convert a column of times in any form to microseconds in UTC without a zone.

    Raises
    ------
    InvalidSpecError
        If the column does not hold times.
    """
    import pyarrow
    import pyarrow.compute as compute

    types = pyarrow.types
    micro = pyarrow.timestamp("us")
    if types.is_timestamp(column.type) or types.is_date(column.type) or types.is_null(column.type):
        return column.cast(micro)
    if types.is_integer(column.type) or types.is_floating(column.type):
        largest = compute.max(compute.abs(column)).as_py() or 0
        # Seconds reach 1e11 in the year 5138, and milliseconds 1e14.
        factor = 1_000_000 if largest < 1e11 else 1_000 if largest < 1e14 else 1
        return compute.multiply(column.cast("float64"), float(factor)).cast("int64", safe=False).cast(micro)
    if types.is_string(column.type):
        for target in (micro, pyarrow.timestamp("us", tz="UTC")):
            try:
                return column.cast(target).cast(micro)
            except pyarrow.ArrowInvalid:
                continue
    raise InvalidSpecError(
        "column",
        name,
        "it must be a column of times (timestamps, dates, ISO 8601 text, or seconds, milliseconds or microseconds "
        f"since 1970), not of type {column.type}",
    )


def write_like(sample: Any, moment: datetime) -> Any:
    """Return a time in the form in which a database column stores its times.

    Parameters
    ----------
    sample
        A value of the column.
    moment
        The time to convert.

    Examples
    --------
    >>> noon = datetime(2026, 1, 2, 12, tzinfo=UTC)
    >>> write_like("2025-01-01T00:00:00Z", noon), write_like("2025-01-01 00:00", noon), write_like(1735689600, noon)
    ('2026-01-02T12:00:00Z', '2026-01-02 12:00:00', 1767355200)
    """
    moment = moment.astimezone(UTC)
    if isinstance(sample, datetime):
        return moment if sample.tzinfo else moment.replace(tzinfo=None)
    if isinstance(sample, date):
        return moment.date()
    if isinstance(sample, int | float) and not isinstance(sample, bool):
        factor = 1 if abs(sample) < 1e11 else 1e3 if abs(sample) < 1e14 else 1e6
        return type(sample)(moment.timestamp() * factor)
    text = str(sample)
    if len(text) <= 10:
        return moment.date().isoformat()
    zone = "Z" if text.endswith("Z") else "+00:00" if text.endswith("+00:00") else ""
    return moment.replace(tzinfo=None).isoformat(sep="T" if "T" in text else " ") + zone


def greatest(before: Any, rows: pyarrow.Table, column: str, *, as_time: bool = False) -> Any:
    """Return the greater of `before` and the greatest value of a batch's column.

    Raises
    ------
    InvalidSpecError
        If the values cannot be compared with each other or with `before`.
    """
    import pyarrow
    import pyarrow.compute

    values = as_times(rows[column], column) if as_time else rows[column]
    try:
        largest = pyarrow.compute.max(values).as_py()
    except pyarrow.ArrowNotImplementedError:
        raise InvalidSpecError(
            "incremental.column",
            column,
            f"values of type {values.type} cannot be sorted. Use a column of numbers, strings or times",
        ) from None
    if largest is None or before is None:
        return before if largest is None else largest
    if isinstance(largest, datetime):
        if isinstance(before, str):
            before = datetime.fromisoformat(before)
        if isinstance(before, datetime) and (largest.tzinfo is None) != (before.tzinfo is None):
            before = before.replace(tzinfo=largest.tzinfo)
    try:
        return max(before, largest)
    except TypeError as error:
        raise InvalidSpecError(
            "incremental.column",
            column,
            f"the column contains {largest}, which cannot be compared with the stored watermark {before} "
            f"({type(largest).__name__} and {type(before).__name__}). Use a column whose type matches the watermark",
        ) from error


def require_columns(columns: dict[str, str], available: list[str]) -> None:
    """Check that the source has the columns that fields name.

    Parameters
    ----------
    columns
        The name of the column by field.
    available
        The columns of the source.

    Raises
    ------
    InvalidSpecError
        If a column is missing.
    """
    for field, column in columns.items():
        if column not in available:
            raise InvalidSpecError(field, column, must_be_a_column(column, available, "the source"))


def _comparable(end: Any, column_type: pyarrow.DataType) -> Any:
    """Return an end of a window in a form that an Arrow scalar of the column's type accepts."""
    import pyarrow

    if isinstance(end, str) and pyarrow.types.is_timestamp(column_type):
        end = datetime.fromisoformat(end)
    if isinstance(end, str) and pyarrow.types.is_date(column_type):
        end = date.fromisoformat(end[:10])
    if isinstance(end, datetime) and pyarrow.types.is_timestamp(column_type):
        if column_type.tz is None:
            return end.astimezone(UTC).replace(tzinfo=None) if end.tzinfo else end
        return end if end.tzinfo else end.replace(tzinfo=UTC)
    return end
