"""Which rows are new: those of the run's data interval, or those past the last watermark."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.data.names import list_names
from airflow_provider_mlops.errors import InvalidSpecError

if TYPE_CHECKING:
    import pyarrow

    from airflow_provider_mlops.data.lineage import TaskIdentity
    from airflow_provider_mlops.lifecycle.workspace import Workspace

log = logging.getLogger(__name__)

_RUNS_REMEMBERED = 1000


class IntervalIncrement(BaseModel):
    """The rows whose `column` lies in the run's data interval: from its start on, and before its end."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["interval"] = "interval"
    column: str = Field(
        description="A time: a timestamp or a date, ISO 8601 text, or seconds (or milliseconds) since 1970. A time "
        "without a zone is taken as UTC."
    )


class WatermarkIncrement(BaseModel):
    """The rows whose `column` is greater than the greatest value that earlier runs have extracted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["watermark"] = "watermark"
    column: str = Field(
        description="A column that only grows: a number given out in order, a time of change. Rows without a value in "
        "it come with the first extraction only."
    )
    initial: JsonValue = Field(
        default=None, description="Where the first run begins. By default it takes everything. Times are ISO 8601 text."
    )


Increment = Annotated[IntervalIncrement | WatermarkIncrement, Field(discriminator="kind")]


@dataclass(frozen=True)
class Window:
    """The values of a column that are wanted. None as an end means no end.

    :param times: whether the ends are moments that the column may write in any way.
    """

    column: str
    low: Any = None
    high: Any = None
    low_open: bool = False
    high_open: bool = False
    times: bool = False

    def keep(self, table: pyarrow.Table) -> pyarrow.Table:
        """The wanted rows of a batch."""
        import pyarrow
        import pyarrow.compute as compute

        if self.low is None and self.high is None:
            return table
        values = as_times(table[self.column], self.column) if self.times else table[self.column]
        mask = None
        for end, compare in (
            (self.low, compute.greater if self.low_open else compute.greater_equal),
            (self.high, compute.less if self.high_open else compute.less_equal),
        ):
            if end is None:
                continue
            plain = end.astimezone(UTC).replace(tzinfo=None) if self.times else _comparable(end, values.type)
            try:
                one = compare(
                    values, pyarrow.scalar(plain, type=None if pyarrow.types.is_null(values.type) else values.type)
                )
            except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError, pyarrow.ArrowNotImplementedError) as error:
                raise InvalidSpecError(
                    "incremental.column", self.column, f"its type {values.type} does not compare with {end!r}: {error}"
                ) from error
            mask = one if mask is None else compute.and_(mask, one)
        return table.filter(mask)


def as_times(column: pyarrow.ChunkedArray, name: str) -> pyarrow.ChunkedArray:
    """A column of times, however written, as microseconds in UTC without a zone. Raises InvalidSpecError."""
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
        for kind in (micro, pyarrow.timestamp("us", tz="UTC")):
            try:
                return column.cast(kind).cast(micro)
            except pyarrow.ArrowInvalid:
                continue
    raise InvalidSpecError(
        "column",
        name,
        f"its type is {column.type}: name a column of times (timestamps, dates, ISO 8601 text or seconds)",
    )


def write_like(sample: Any, moment: datetime) -> Any:
    """A moment written as a database column writes its own.

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


def window_of_interval(increment: IntervalIncrement, task: TaskIdentity) -> Window:
    """The rows of the run's data interval. Raises InvalidSpecError if the run has none."""
    start, end = task.interval_start, task.interval_end
    if start is None or end is None or start >= end:
        raise InvalidSpecError(
            "incremental",
            f"data interval from {start} to {end}",
            "the run has no data interval to extract: give the DAG a timetable with data intervals "
            "(CronDataIntervalTimetable, or [scheduler] create_cron_data_intervals), or use a watermark",
        )
    return Window(increment.column, low=start, high=end, high_open=True, times=True)


class WatermarkState:
    """How far the runs of one task have extracted, kept as a file under the storage URI.

    Every run is remembered with where it began and where it ended. So a run that is tried or cleared again extracts
    what it extracted before, although the watermark has moved on since; and nothing is lost when a try dies after the
    watermark has moved and before Airflow has heard of it.
    """

    def __init__(self, increment: WatermarkIncrement, workspace: Workspace) -> None:
        task = workspace.task
        mapped = () if task.map_index < 0 else (str(task.map_index),)
        # The path of an identity without its run.
        path = task.model_copy(update={"run_id": "watermark", "map_index": -1}).path
        self.uri = storage.join(workspace.storage_uri, "watermarks", path, *mapped) + ".json"
        self.run_id = task.run_id
        self.increment = increment
        try:
            self._runs: list[dict[str, Any]] = json.loads(storage.read_text(self.uri))["runs"]
        except FileNotFoundError:
            self._runs = []

    @property
    def begin(self) -> Any:
        """Where this run begins, as a plain value; None if it takes everything."""
        mine = self._mine()
        if mine is not None:
            return unpack(mine["from"])
        return unpack(self._runs[-1]["to"]) if self._runs else unpack(pack(self.increment.initial))

    def window(self) -> Window:
        """What this run extracts: up to where it ended, if it ran before and others have run since."""
        mine = self._mine()
        end = None if mine is None or mine is self._runs[-1] else unpack(mine["to"])
        return Window(self.increment.column, low=self.begin, low_open=True, high=end)

    def move(self, to: Any) -> None:
        """Remember that this run has extracted up to `to`, which may be where it began."""
        entry = {"run_id": self.run_id, "from": pack(self.begin), "to": pack(self.begin if to is None else to)}
        mine = self._mine()
        if mine is None:
            self._runs.append(entry)
        else:
            self._runs[self._runs.index(mine)] = entry
        storage.write_text(self.uri, json.dumps({"runs": self._runs[-_RUNS_REMEMBERED:]}, indent=1))
        log.info("The watermark of %r is %s, kept at %s", self.increment.column, to, self.uri)

    def _mine(self) -> dict[str, Any] | None:
        return next((entry for entry in self._runs if entry["run_id"] == self.run_id), None)


def pack(value: Any) -> dict[str, JsonValue]:
    """A value as JSON that says what it was."""
    if isinstance(value, datetime):
        return {"type": "datetime", "value": value.isoformat()}
    if isinstance(value, date):
        return {"type": "date", "value": value.isoformat()}
    return {"type": "plain", "value": value}


def unpack(packed: dict[str, Any]) -> Any:
    """The value that was packed.

    >>> unpack(pack(date(2026, 1, 2)))
    datetime.date(2026, 1, 2)
    """
    if packed["type"] == "datetime":
        return datetime.fromisoformat(packed["value"])
    if packed["type"] == "date":
        return date.fromisoformat(packed["value"])
    return packed["value"]


def require_columns(wanted: dict[str, str], there: list[str]) -> None:
    """Check that columns exist: `wanted` is by field. Raises InvalidSpecError, which lists what there is."""
    for field, column in wanted.items():
        if column not in there:
            raise InvalidSpecError(field, column, f"name one of the columns: {list_names(there)}")


def _comparable(end: Any, kind: pyarrow.DataType) -> Any:
    """An end of a window in the form that an Arrow scalar of the column's type takes."""
    import pyarrow

    if isinstance(end, str) and pyarrow.types.is_timestamp(kind):
        end = datetime.fromisoformat(end)
    if isinstance(end, str) and pyarrow.types.is_date(kind):
        end = date.fromisoformat(end[:10])
    if isinstance(end, datetime) and pyarrow.types.is_timestamp(kind):
        if kind.tz is None:
            return end.astimezone(UTC).replace(tzinfo=None) if end.tzinfo else end
        return end if end.tzinfo else end.replace(tzinfo=UTC)
    return end
