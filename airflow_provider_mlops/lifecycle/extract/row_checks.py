"""The checks that extracted rows must pass before they become a dataset."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.errors import RejectedError
from airflow_provider_mlops.lifecycle.extract.window import greatest

if TYPE_CHECKING:
    import pyarrow

    from airflow_provider_mlops.lifecycle.extract.spec import ExtractSpec


class RowChecks:
    """Checks on the number of rows and on the age of the newest one.

    Parameters
    ----------
    spec
        The fields `min_rows`, `max_rows` and `freshness`.
    as_of
        Time at which the age of the newest row is measured; None for now.
    """

    def __init__(self, spec: ExtractSpec, as_of: datetime | None = None) -> None:
        self.rows = 0
        self._spec = spec
        self._as_of = as_of
        self._newest: datetime | None = None

    @property
    def columns(self) -> dict[str, str]:
        """The column that the source must have, by the field that names it."""
        return {} if self._spec.freshness is None else {"freshness.column": self._spec.freshness.column}

    def add(self, batch: pyarrow.Table) -> None:
        """Count a batch.

        Raises
        ------
        RejectedError
            If there are too many rows.
        """
        freshness, limit = self._spec.freshness, self._spec.max_rows
        if freshness is not None and batch.num_rows:
            self._newest = greatest(self._newest, batch, freshness.column, as_time=True)
        self.rows += batch.num_rows
        if limit is not None and self.rows > limit:
            raise self._rejected(
                f"max_rows: more than {limit:,} rows, allowed {limit:,}. Select fewer rows, or raise max_rows"
            )

    def finish(self, *, has_schema: bool) -> None:
        """Check all rows together.

        Parameters
        ----------
        has_schema
            Whether the types of the columns are known.

        Raises
        ------
        RejectedError
            If there are too few rows, the newest is too old, or the dataset would have no columns.
        """
        limit = self._spec.min_rows
        if self.rows < limit:
            raise self._rejected(
                f"min_rows: {pluralize(self.rows, 'row')}, allowed at least {limit:,}. Check the source, or lower "
                "min_rows"
            )
        if not has_schema:
            raise self._rejected(
                "schema: the source has no rows and does not declare the types of its columns. Only Parquet files and "
                "databases can give a dataset without rows"
            )
        self._check_freshness()

    def _check_freshness(self) -> None:
        freshness = self._spec.freshness
        if freshness is None:
            return
        if self._newest is None:
            raise self._rejected(
                f"freshness: no row has a value in {freshness.column!r}, so the age of the data is unknown. Check the "
                "source"
            )
        now = datetime.now(UTC)
        age = (now if self._as_of is None else min(now, self._as_of)) - self._newest.replace(tzinfo=UTC)
        if age > freshness.max_age:
            raise self._rejected(
                f"freshness: the newest row is {format_duration(age)} old ({self._newest.isoformat(sep=' ')} UTC), "
                f"allowed {format_duration(freshness.max_age)}. Check why the source has no newer rows"
            )

    def _rejected(self, reason: str) -> RejectedError:
        return RejectedError(f"Rejected dataset {self._spec.dataset_name!r}: {reason}.")


def format_duration(duration: timedelta) -> str:
    """Return a duration in its two largest units.

    >>> format_duration(timedelta(days=1, hours=1, seconds=3)), format_duration(timedelta(seconds=90))
    ('1 day 1 hour', '1 minute 30 seconds')
    """
    seconds = round(duration.total_seconds())
    parts = []
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        count, seconds = divmod(seconds, size)
        parts.append(f"{count} {unit}{'' if count == 1 else 's'}" if count else "")
    first = next((index for index, part in enumerate(parts) if part), len(parts) - 1)
    return " ".join(part for part in parts[first : first + 2] if part) or "0 seconds"
