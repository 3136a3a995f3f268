"""The watermark of a task: the greatest value that its runs have extracted, stored as a file under the storage URI."""

from __future__ import annotations

import json
import logging
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from pydantic import JsonValue

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.lifecycle.extract.window import Window

if TYPE_CHECKING:
    from airflow_provider_mlops.lifecycle.workspace import Workspace

log = logging.getLogger(__name__)

_MAX_RUNS = 1000


class PackedValue(TypedDict):
    """A value as JSON that keeps its type."""

    type: Literal["datetime", "date", "plain"]
    value: JsonValue


_Run = TypedDict("_Run", {"run_id": str, "from": PackedValue, "to": PackedValue})


class WatermarkState:
    """The watermark of one task, with where each run began and ended.

    A run that is retried or cleared therefore extracts the same rows again, even if the watermark has moved on since.
    No rows are lost if a try dies after it has moved the watermark and before Airflow has recorded its success.
    """

    def __init__(self, column: str, initial: JsonValue, workspace: Workspace) -> None:
        task = workspace.task
        mapped = () if task.map_index < 0 else (str(task.map_index),)
        # The path of an identity without its run.
        path = task.model_copy(update={"run_id": "watermark", "map_index": -1}).path
        self.uri = storage.join(workspace.storage_uri, "watermarks", path, *mapped) + ".json"
        self.run_id = task.run_id
        self.column = column
        self._initial = initial
        try:
            self._runs: list[_Run] = json.loads(storage.read_text(self.uri))["runs"]
        except FileNotFoundError:
            self._runs = []

    @property
    def begin(self) -> Any:
        """The value above which this run extracts; None if it extracts everything."""
        this_run = self._this_run()
        if this_run is not None:
            return unpack(this_run["from"])
        return unpack(self._runs[-1]["to"]) if self._runs else unpack(pack(self._initial))

    def window(self) -> Window:
        """Return the window of this run. It has an end if the run was extracted before and others have run since."""
        this_run = self._this_run()
        end = None if this_run is None or this_run is self._runs[-1] else unpack(this_run["to"])
        return Window(self.column, low=self.begin, low_open=True, high=end)

    def move(self, to: Any) -> None:
        """Store that this run has extracted up to `to`; None if it found no rows."""
        entry: _Run = {"run_id": self.run_id, "from": pack(self.begin), "to": pack(self.begin if to is None else to)}
        this_run = self._this_run()
        if this_run is None:
            self._runs.append(entry)
        else:
            self._runs[self._runs.index(this_run)] = entry
        storage.write_text(self.uri, json.dumps({"runs": self._runs[-_MAX_RUNS:]}, indent=1))
        log.info("Set the watermark of %r to %s in %s", self.column, to, self.uri)

    def _this_run(self) -> _Run | None:
        return next((entry for entry in self._runs if entry["run_id"] == self.run_id), None)


def pack(value: Any) -> PackedValue:
    """Convert a value to JSON that keeps its type."""
    if isinstance(value, datetime):
        return {"type": "datetime", "value": value.isoformat()}
    if isinstance(value, date):
        return {"type": "date", "value": value.isoformat()}
    return {"type": "plain", "value": value}


def unpack(packed: PackedValue) -> Any:
    """Return the value that was packed.

    >>> unpack(pack(date(2026, 1, 2)))
    datetime.date(2026, 1, 2)
    """
    if packed["type"] == "datetime":
        return datetime.fromisoformat(str(packed["value"]))
    if packed["type"] == "date":
        return date.fromisoformat(str(packed["value"]))
    return packed["value"]
