"""The protocol between a runtime and a step in another process: a request, log lines and an outcome.

The process runs `airflow_provider_mlops.lifecycle.__main__`.
"""

from __future__ import annotations

import json
import logging
from typing import Any, TypedDict

from airflow_provider_mlops import __version__
from airflow_provider_mlops.errors import BY_NAME
from airflow_provider_mlops.lifecycle.step import Result, Spec, Step
from airflow_provider_mlops.lifecycle.workspace import Workspace

log = logging.getLogger(__name__)


class Request(TypedDict):
    """The request to run a step."""

    version: str
    step: str
    spec: dict[str, Any]
    workspace: dict[str, Any]


class ErrorOutcome(TypedDict):
    """An MlopsError: the name of its class, and its arguments."""

    type: str
    args: list[Any]


class DefectOutcome(TypedDict):
    """Any other exception: the name of its class, and its message."""

    type: str
    message: str


class Outcome(TypedDict, total=False):
    """The outcome of a step. It has exactly one of these keys."""

    result: dict[str, Any]
    error: ErrorOutcome
    defect: DefectOutcome


def request_for(step: Step[Any, Any], spec: Spec, workspace: Workspace) -> Request:
    """Return the request as JSON. It contains no secrets: the process gets them from `workspace.environment()`."""
    return {
        "version": __version__,
        "step": step.name,
        "spec": spec.model_dump(mode="json"),
        "workspace": workspace.model_dump(mode="json"),
    }


def parse_outcome(step: Step[Any, Any], outcome: Outcome) -> Result:
    """Return the result in the outcome. Raises the MlopsError that the step raised, or RuntimeError for a defect."""
    if "error" in outcome:
        raise BY_NAME[outcome["error"]["type"]](*outcome["error"]["args"])
    if "defect" in outcome:
        raise RuntimeError(
            f"The step {step.name} failed with {outcome['defect']['type']}: {outcome['defect']['message']}. "
            "See the traceback in the log above."
        )
    parsed: Result = step.result.model_validate(outcome["result"])
    return parsed


class LogLines:
    """Logs the output of a step line by line, at the levels that the step used.

    Attributes
    ----------
    last
        Last line that was not empty.
    """

    def __init__(self) -> None:
        self.last = ""
        self._rest = b""

    def feed(self, chunk: bytes) -> None:
        """Log the complete lines of a chunk of output, and keep the rest for the next chunk."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self._log(line)

    def end(self) -> None:
        """Log the output after the last line break."""
        if self._rest:
            self._log(self._rest)
            self._rest = b""

    def _log(self, raw: bytes) -> None:
        line = raw.decode(errors="replace").rstrip()
        if not line:
            return
        try:
            record = json.loads(line)
            level = logging.getLevelNamesMapping()[record["level"]]
            logger, message = logging.getLogger(record["logger"]), str(record["message"])
        except (ValueError, KeyError, TypeError):
            level, logger, message = logging.INFO, log, line
        self.last = message.rstrip().rpartition("\n")[2]
        logger.log(level, "%s", message)
