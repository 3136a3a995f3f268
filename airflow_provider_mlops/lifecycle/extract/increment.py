"""Incremental extraction: the rows of the run's data interval, or those above the last watermark."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.extract.watermark import WatermarkState
from airflow_provider_mlops.lifecycle.extract.window import Window

if TYPE_CHECKING:
    from airflow_provider_mlops.data.task_identity import TaskIdentity
    from airflow_provider_mlops.lifecycle.workspace import Workspace

log = logging.getLogger(__name__)

INTERVAL_ENDS = ("interval_start", "interval_end")
"""Names under which a query or a function of the user receives the ends of the run's data interval."""


class IntervalIncrement(BaseModel):
    """The rows whose `column` is in the run's data interval: at or after its start, and before its end."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["interval"] = "interval"
    column: str = Field(
        description="A column of times: timestamps, dates, ISO 8601 text, or numbers (seconds, milliseconds or "
        "microseconds since 1970). A time without a zone is read as UTC."
    )


class WatermarkIncrement(BaseModel):
    """The rows whose `column` is greater than the greatest value that earlier runs have extracted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["watermark"] = "watermark"
    column: str = Field(
        description="A column whose values only grow, such as a serial number or the time of the last change. Rows "
        "without a value are extracted by the first run only, and only if `initial` is not set."
    )
    initial: JsonValue = Field(
        default=None,
        description="Initial watermark: the first run extracts only rows with greater values. By default, it extracts "
        "all rows. Times are ISO 8601 text.",
    )


Increment = Annotated[IntervalIncrement | WatermarkIncrement, Field(discriminator="kind")]


@dataclass(frozen=True)
class Selection:
    """The rows that a run extracts.

    Parameters
    ----------
    window
        The range of a column; None for all rows.
    watermark
        The watermark to move afterwards; None without one.
    values
        Values that a query or a function may refer to by name.
    """

    window: Window | None
    watermark: WatermarkState | None
    values: dict[str, Any]

    @property
    def columns(self) -> dict[str, str]:
        """The column that the source must have, by the field that names it."""
        return {} if self.window is None else {"incremental.column": self.window.column}


def select(increment: IntervalIncrement | WatermarkIncrement | None, workspace: Workspace) -> Selection:
    """Return which rows this run extracts.

    Raises
    ------
    InvalidSpecError
        If the increment is the data interval and the run has none.
    """
    task = workspace.task
    values: dict[str, Any] = {name: getattr(task, name) for name in INTERVAL_ENDS} | {"watermark": None}
    if increment is None:
        return Selection(None, None, values)
    if isinstance(increment, IntervalIncrement):
        start, end = require_interval(task, "incremental", increment.kind, "incremental selects the data interval")
        return Selection(Window(increment.column, low=start, high=end, high_open=True, times=True), None, values)
    state = WatermarkState(increment.column, increment.initial, workspace)
    window = state.window()
    if window.low is None:
        log.info("Extracting all rows, because %r has no watermark yet", window.column)
    else:
        log.info("Extracting rows with %r greater than %s", window.column, window.low)
    return Selection(window, state, values | {"watermark": state.begin})


def require_interval(task: TaskIdentity, field: str, value: object, reason: str) -> tuple[datetime, datetime]:
    """Return the run's data interval.

    Parameters
    ----------
    task
        The task, with the interval of its run.
    field, value
        The field that needs the interval, for the error.
    reason
        Why the interval is needed, for the error.

    Raises
    ------
    InvalidSpecError
        If the run has no interval or an empty one, so that no row could be extracted.
    """
    start, end = task.interval_start, task.interval_end
    if start is not None and end is not None and start < end:
        return start, end
    lacks = "an empty" if start is not None and start == end else "no"
    raise InvalidSpecError(
        field,
        value,
        f"{reason}, but this run has {lacks} data interval, which is normal for the default schedules of "
        "Airflow 3. Set schedule=CronDataIntervalTimetable(...) in the DAG, or use "
        "incremental={'kind': 'watermark', ...}",
    )


def check_interval_is_known(task: TaskIdentity, field: str, value: object, used: Iterable[str]) -> None:
    """Check that the run has a data interval if the source uses its ends.

    Raises
    ------
    InvalidSpecError
        If it has none; without this check, the source would silently give no rows.
    """
    ends = [name for name in INTERVAL_ENDS if name in used]
    if ends:
        require_interval(task, field, value, f"it uses {' and '.join(ends)}")
