"""Tries versions, each in a process of its own, before any worker loads them."""

from __future__ import annotations

import logging
import os
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from airflow_provider_mlops.errors import MlopsError
from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.settings import RegistrySettings
from airflow_provider_mlops.serving.gateway.settings import Settings
from airflow_provider_mlops.serving.gateway.workers import deaths, memory
from airflow_provider_mlops.serving.gateway.workers.child import Child
from airflow_provider_mlops.serving.gateway.workers.link import SupervisorLink, TrialRequest, TrialResult
from airflow_provider_mlops.serving.models.crash_list import CrashList
from airflow_provider_mlops.serving.models.model_source import read_version
from airflow_provider_mlops.serving.rows.request_error import RequestError

log = logging.getLogger(__name__)

TRIAL_SECONDS = 120.0
"""How long a version may take to be loaded and to predict its example."""
_NICENESS = 5
"""Trials leave the processor to the workers."""
_MAX_STACK_LENGTH = 20_000

Answer = Callable[[TrialResult], None]
Key = tuple[str, int, str]


@dataclass
class _Running:
    child: Child
    request: TrialRequest
    kills: int
    waiting: list[Answer] = field(default_factory=list)


class Trials:
    """The trials of one gateway. A version that has passed is not tried again by the next worker.

    Parameters
    ----------
    settings
        Options of the gateway.
    crashes
        List to which versions are added that end their process.
    leave
        Called in each new process: releases what only the supervisor needs.
    seconds
        Maximum duration of a trial.
    """

    def __init__(
        self,
        settings: Settings,
        crashes: CrashList,
        leave: Callable[[], None],
        *,
        seconds: float = TRIAL_SECONDS,
    ) -> None:
        self._settings = settings
        self._crashes = crashes
        self._leave = leave
        self._seconds = seconds
        self._passed: set[Key] = set()
        self._running: dict[Key, _Running] = {}

    def connections(self) -> list[Connection]:
        """Return what becomes readable when a trial has a result or ends."""
        return [running.child.connection for running in self._running.values() if running.child.connection is not None]

    def request(self, request: TrialRequest, answer: Answer) -> None:
        """Try a version, and call `answer` with the result, possibly at once."""
        version = request.version
        key = (version.name, version.version, version.run_id)
        if request.again:
            self._passed.discard(key)
        if key in self._passed:
            answer(TrialResult())
            return
        if key not in self._running:
            try:
                child = Child(partial(_try, request, self._settings, self._leave), "trial")
            except OSError as error:
                message = f"Version {version.version} could not be tried, because no process could be started: {error}."
                answer(TrialResult(503, message, "version"))
                return
            self._running[key] = _Running(child, request, memory.out_of_memory_kills())
        self._running[key].waiting.append(answer)

    def check(self) -> None:
        """Answer the requests whose trials have ended or take too long."""
        for key, running in list(self._running.items()):
            child = running.child
            results = [message for message in child.messages() if isinstance(message, TrialResult)]
            is_late = child.lifetime > self._seconds
            if not results and child.process.is_alive() and child.connection is not None and not is_late:
                continue
            del self._running[key]
            result = results[0] if results else self._examine(running, is_late=is_late)
            if result.status == 200:
                self._passed.add(key)
            # A thread that the version has started must not keep the process.
            child.process.kill()
            child.process.join()
            child.close()
            for answer in running.waiting:
                answer(result)

    def close(self) -> None:
        """End all trials."""
        for running in self._running.values():
            running.child.process.kill()
            running.child.process.join()
            running.child.close()
        self._running.clear()

    def _examine(self, running: _Running, *, is_late: bool) -> TrialResult:
        """Return the result of a trial whose process ended without one, or is late."""
        child, version = running.child, running.request.version
        if is_late:
            # Only suspected: the machine may be busy.
            death = deaths.Death(f"did not return within {self._seconds:g} s", ((version, "loading"),), "suspected", "")
        else:
            # The pipe is closed a moment before the process has ended.
            child.process.join(5)
            kills = memory.out_of_memory_kills()
            exit_code = child.process.exitcode
            death = deaths.examine(
                child, -9 if exit_code is None else exit_code, ran_out_of_memory=kills > running.kills
            )
        log.error(
            "The process that tried %s before the workers load it %s%s",
            version,
            death.describe(),
            f". Its Python stack:\n{death.stack}" if death.stack else "",
        )
        skipped = deaths.record(death, self._crashes)
        if skipped:
            return TrialResult(422, f"Version {version.version} is not loaded: {skipped[0].reason}.", "version")
        message = f"Version {version.version} could not be tried: the process that tried it {death.cause}."
        return TrialResult(503 if death.blame == "nobody" else 422, message, "version")


def _try(request: TrialRequest, settings: Settings, leave: Callable[[], None], link: SupervisorLink) -> None:
    """Load the version, which includes a prediction of its example, and send the result."""
    leave()
    # Ctrl-C reaches all processes; the supervisor ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(_NICENESS)
    # The worker that loads the version afterwards logs the same.
    logging.getLogger().setLevel(logging.ERROR)
    mlflow = RegistrySettings.from_environment(
        settings.storage_uri, settings.tracking_uri, settings.registry_uri, settings.trusted_types
    )
    result = TrialResult()
    try:
        read_version(Registry(mlflow), request.version, Path(request.directory), allow_pickle=settings.allow_pickle)
    except RequestError as error:
        cause = error.__cause__
        stack = "" if cause is None or isinstance(cause, MlopsError) else "".join(traceback.format_exception(cause))
        result = TrialResult(error.status, error.message, error.field, stack[-_MAX_STACK_LENGTH:])
    link.send(result)
