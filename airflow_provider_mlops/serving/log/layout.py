"""The locations of the prediction log's files.

```
{storage_uri}/predictions/model={model}/date={date}/v{version}-{segment}.parquet
{storage_uri}/feedback/date={date}/{segment}.parquet
{storage_uri}/log-rejected/{segment}.jsonl             records that cannot be rows, with the reason
{storage_uri}/write-ahead/{writer}/{number}.jsonl      not compacted yet; on local disk
```
The date of a prediction is the day (UTC) on which it was made; the date of a label is the day on
which it arrived. A Parquet file is named after the segment of the write-ahead log that it was made
from, so that writing it twice gives the same file, and a reader knows which rows it has seen already.
"""

from __future__ import annotations

import re
import urllib.parse
from dataclasses import dataclass

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.data.state_directory import state_path

_PREDICTIONS_FILE = re.compile(r"v(\d+)-([0-9a-f]+-\d+)\.parquet")
_FEEDBACK_FILE = re.compile(r"([0-9a-f]+-\d+)\.parquet")


@dataclass(frozen=True)
class LogFile:
    """A Parquet file of the log. `version` is None for feedback."""

    uri: str
    version: int | None
    segment: str


def model_directory(storage_uri: str, model: str) -> str:
    """Return the directory with the predictions of a model.

    >>> model_directory("/data", "churn model")
    '/data/predictions/model=churn%20model'
    """
    return storage.join(storage_uri, "predictions", "model=" + urllib.parse.quote(model, safe=""))


def predictions_file(storage_uri: str, model: str, version: int, date: str, segment: str) -> str:
    """Return the file for the predictions of one version on one day that come from a segment."""
    return storage.join(model_directory(storage_uri, model), f"date={date}", f"v{version}-{segment}.parquet")


def feedback_file(storage_uri: str, date: str, segment: str) -> str:
    """Return the file for the labels and rewards of one day that come from a segment."""
    return storage.join(storage_uri, "feedback", f"date={date}", f"{segment}.parquet")


def rejected_file(storage_uri: str, segment: str) -> str:
    """Return the file for the records of a segment that cannot be rows of a table."""
    return storage.join(rejected_directory(storage_uri), f"{segment}.jsonl")


def rejected_directory(storage_uri: str) -> str:
    """Return the directory of the records that cannot be rows of a table."""
    return storage.join(storage_uri, "log-rejected")


def predictions_files(storage_uri: str, model: str, first: str | None, last: str | None) -> list[LogFile]:
    """Return the files with the model's predictions of the days from `first` to `last`, both included."""
    files = []
    for uri in _days(model_directory(storage_uri, model), first, last):
        for name in storage.names(uri):
            match = _PREDICTIONS_FILE.fullmatch(name)
            if match:
                files.append(LogFile(storage.join(uri, name), int(match[1]), match[2]))
    return files


def feedback_files(storage_uri: str, first: str | None) -> list[LogFile]:
    """Return the files with the labels and rewards that arrived on the day `first` or later."""
    files = []
    for uri in _days(storage.join(storage_uri, "feedback"), first, None):
        for name in storage.names(uri):
            match = _FEEDBACK_FILE.fullmatch(name)
            if match:
                files.append(LogFile(storage.join(uri, name), None, match[1]))
    return files


def write_ahead_root(storage_uri: str) -> str:
    """Return the local directory of the write-ahead log.

    It is under the storage URI if that is on this machine's disk, so that readers see the newest
    rows. With remote storage, it is in the user's state directory, and readers on other machines
    see a row once it has been compacted.
    """
    return state_path(storage_uri, "write-ahead")


def _days(directory: str, first: str | None, last: str | None) -> list[str]:
    days = []
    for name in storage.names(directory):
        key, _, date = name.partition("=")
        if key == "date" and (first is None or date >= first) and (last is None or date <= last):
            days.append(storage.join(directory, name))
    return days
