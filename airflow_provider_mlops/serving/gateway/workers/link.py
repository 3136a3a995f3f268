"""The pipe between a process of the gateway and its supervisor, as the process sees it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from airflow_provider_mlops.registry.model_version import ModelVersion
from airflow_provider_mlops.serving.rows.request_error import RequestError


@dataclass(frozen=True)
class VersionNumber:
    """The number that stands for a version in the process's activity table."""

    number: int
    version: ModelVersion


@dataclass(frozen=True)
class TrialRequest:
    """A request to try a version in a process of its own."""

    version: ModelVersion
    directory: str
    again: bool


@dataclass(frozen=True)
class TrialResult:
    """The outcome of a trial: nothing if the version can be served, else the error.

    Parameters
    ----------
    status, message, field
        The RequestError with which the version is rejected.
    stack
        Where the error was raised; empty for errors that the message explains.
    """

    status: int = 200
    message: str = ""
    field: str | None = None
    stack: str = ""


class TrialFailedError(Exception):
    """An unexpected error of a version in another process. The message is its traceback."""


class SupervisorLink:
    """A process's end of the pipe. Safe to use from several threads."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sends = threading.Lock()
        self._trials = threading.Lock()

    def announce(self, number: int, version: ModelVersion) -> None:
        """Say which version a number in the activity table stands for."""
        self.send(VersionNumber(number, version))

    def send(self, message: object) -> None:
        """Send a message to the supervisor."""
        with self._sends:
            self._connection.send(message)

    def try_version(self, version: ModelVersion, directory: Path, *, again: bool) -> None:
        """Have the supervisor try a version, which another process does. Raises RequestError if it cannot be served."""
        # One trial at a time, so that the next message is its result. The supervisor limits its time.
        with self._trials:
            self.send(TrialRequest(version, str(directory), again))
            try:
                result = self._connection.recv()
            except EOFError:
                result = TrialResult(503, "The gateway is stopping. Retry later.")
        assert isinstance(result, TrialResult)
        if result.status != 200:
            headers = {"Retry_After": "5"} if result.status == 503 else {}
            error = RequestError(result.status, result.message, result.field, **headers)
            raise error from (TrialFailedError(result.stack) if result.stack else None)
