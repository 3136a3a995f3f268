"""A file with the outcome of each request: one JSON object per line, written as soon as it is known."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

import orjson

from airflow_provider_mlops.errors import InvalidSpecError

_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC


class Record:
    """A file of outcomes. If the replay is killed, its lines stay; the last one may be incomplete.

    Each line has the `time` in seconds since 1970, and one of `answered` (the prediction's id, with `version`, `rows`
    and `ms`), `refused` (the HTTP status), `failed` (the cause, as in the summary), `acknowledged` and `lost` (the
    prediction ids of labels or rewards). Raises InvalidSpecError if the file cannot be written.

    Parameters
    ----------
    path
        Path of the file; an existing file is replaced. None writes nothing.
    """

    def __init__(self, path: str | None) -> None:
        try:
            self._file = None if path is None else os.open(path, _NEW, 0o666)
        except OSError as error:
            hint = f"the file cannot be written ({error.strerror}). Choose a path in an existing, writable directory"
            raise InvalidSpecError("record", path, hint) from error

    def answered(self, prediction_id: str, version: int, rows: int, seconds: float) -> None:
        """Write that a request was answered with a prediction."""
        self._write({"answered": prediction_id, "version": version, "rows": rows, "ms": round(1000 * seconds, 3)})

    def refused(self, status: int) -> None:
        """Write that a request was refused with an HTTP status."""
        self._write({"refused": status})

    def failed(self, cause: str) -> None:
        """Write that a request got no response."""
        self._write({"failed": cause})

    def acknowledged(self, rows: Sequence[str]) -> None:
        """Write that the gateway acknowledged labels and rewards."""
        self._write({"acknowledged": rows})

    def lost(self, rows: Sequence[str]) -> None:
        """Write that labels and rewards were given up."""
        self._write({"lost": rows})

    def close(self) -> None:
        """Close the file. Later outcomes are not written."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _write(self, outcome: dict[str, object]) -> None:
        if self._file is not None:
            os.write(self._file, orjson.dumps({"time": time.time(), **outcome}) + b"\n")
