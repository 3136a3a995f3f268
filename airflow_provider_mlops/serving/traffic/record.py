"""What came of each request, in a file: a JSON object a line, written as soon as it is known."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

import orjson

from airflow_provider_mlops.errors import InvalidSpecError

_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC


class Record:
    """The file. Its lines stay when the replay is killed; the last one may lack its end then.

    Each has the `time`, in seconds since 1970, and one of `answered` (the prediction's id, with `version`, `rows` and
    `ms`), `refused` (the HTTP status), `failed` (the cause, as in the summary), `acknowledged` and `lost` (the ids of
    the rows whose labels or rewards these are). Raises InvalidSpecError if the file cannot be written.

    :param path: where it lies; what was there is replaced. None writes nothing.
    """

    def __init__(self, path: str | None) -> None:
        try:
            self._file = None if path is None else os.open(path, _NEW, 0o666)
        except OSError as error:
            raise InvalidSpecError("record", path, f"{error.strerror}: name a file that can be written") from error

    def answered(self, prediction_id: str, version: int, rows: int, seconds: float) -> None:
        """A request was answered with a prediction."""
        self._note({"answered": prediction_id, "version": version, "rows": rows, "ms": round(1000 * seconds, 3)})

    def refused(self, status: int) -> None:
        """A request was answered with something else."""
        self._note({"refused": status})

    def failed(self, cause: str) -> None:
        """A request was not answered."""
        self._note({"failed": cause})

    def acknowledged(self, rows: Sequence[str]) -> None:
        """The gateway has these labels and rewards."""
        self._note({"acknowledged": rows})

    def lost(self, rows: Sequence[str]) -> None:
        """These are given up."""
        self._note({"lost": rows})

    def close(self) -> None:
        """Nothing more is written."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _note(self, what: dict[str, object]) -> None:
        if self._file is not None:
            os.write(self._file, orjson.dumps({"time": time.time(), **what}) + b"\n")
