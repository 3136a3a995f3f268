"""Loads versions in threads, and answers those who wait for one as long as there is hope."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from airflow_provider_mlops.serving.models import threads
from airflow_provider_mlops.serving.models.load_backoff import LoadBackoff
from airflow_provider_mlops.serving.models.loaded_model import LoadedModel
from airflow_provider_mlops.serving.models.model_source import ModelSource
from airflow_provider_mlops.serving.rows.request_error import RequestError

log = logging.getLogger(__name__)

_NO_ANSWER_SECONDS = 15.0
"""Time without an answer of MLflow after which requests no longer wait for a version to be loaded."""
_WAIT_SECONDS = 120.0
"""Longest time that a request waits for a version to be loaded. The version then counts as failing."""
_CHECK_SECONDS = 0.2


class VersionLoader:
    """Loads each version once, however many ask for it. Its methods run on the event loop.

    Parameters
    ----------
    source
        Source of the models.
    backoff
        Delays between attempts to load a version.
    at_once
        Number of versions that are loaded at the same time.
    on_load
        Function that is called with the name and each version that was loaded, even if no one waits for it any longer.
    on_failure
        Function that is called with the name, the version, the error, and whether this failure is news.
    silent_seconds
        Function that returns the time since MLflow last answered.
    """

    def __init__(
        self,
        source: ModelSource,
        backoff: LoadBackoff,
        at_once: int,
        *,
        on_load: Callable[[str, LoadedModel], None],
        on_failure: Callable[[str, int, RequestError, bool], None],
        silent_seconds: Callable[[], float],
    ) -> None:
        self._source = source
        self._backoff = backoff
        self._on_load = on_load
        self._on_failure = on_failure
        self._silent_seconds = silent_seconds
        self._at_once = at_once
        self._threads = self._new_threads()
        self._loading: dict[tuple[str, int], asyncio.Task[LoadedModel]] = {}
        self._late: dict[tuple[str, int], str] = {}
        self._is_stopping = False

    async def load(self, name: str, version: int, *, again: bool = False) -> LoadedModel:
        """Load a version and return it.

        Raises RequestError as the source does, and 503 if it takes too long; the version is then loaded in the
        background.

        Parameters
        ----------
        again
            Whether someone asks for this version, so that it is tried even if it has ended a process before.
        """
        key = (name, version)
        task = self._loading.get(key)
        if task is None:
            task = self._loading[key] = asyncio.create_task(self._load(name, version, again))
            task.add_done_callback(partial(self._end, key))
        began = time.monotonic()
        while True:
            if key in self._late and not task.done():
                raise RequestError(503, self._late[key], Retry_After="60")
            done, _ = await asyncio.wait({task}, timeout=_CHECK_SECONDS)
            if done:
                return task.result()
            waited, silent = time.monotonic() - began, self._silent_seconds()
            later = f"Version {version} of the model {name!r} is not loaded yet"
            if self._is_stopping:
                raise RequestError(503, f"{later}, and the gateway is stopping. Retry later.", Retry_After="5")
            if waited > _NO_ANSWER_SECONDS and silent > _NO_ANSWER_SECONDS:
                message = f"{later}: MLflow has not answered for {silent:.0f} s. Retry later."
                raise RequestError(503, message, Retry_After="5")

    def stop(self) -> None:
        """Answer those who wait with an error."""
        self._is_stopping = True

    def close(self) -> None:
        """Stop the threads after their current tasks."""
        self._is_stopping = True
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _load(self, name: str, version: int, again: bool) -> LoadedModel:
        load = partial(self._source.load, name, version, again=again)
        work = asyncio.get_running_loop().run_in_executor(self._threads, load)
        try:
            done, _ = await asyncio.wait({work}, timeout=_WAIT_SECONDS)
            if not done:
                self._set_late(name, version)
            loaded = await work
        except RequestError as error:
            # While MLflow is unavailable, nothing is known about the version.
            is_news = error.status != 503 and self._backoff.failed((name, version), error.message)
            self._on_failure(name, version, error, is_news)
            raise
        self._backoff.succeeded((name, version))
        self._on_load(name, loaded)
        return loaded

    def _set_late(self, name: str, version: int) -> None:
        """Report a version that takes too long, and give the others threads that it does not hold.

        A thread cannot be ended. If it returns, the version is used as any other.
        """
        message = (
            f"Version {version} of the model {name!r} is not loaded yet after {_WAIT_SECONDS:.0f} s. The gateway goes "
            "on loading it. If it hangs, repair the version or its storage and restart the gateway."
        )
        self._late[name, version] = message
        self._threads.shutdown(wait=False)
        self._threads = self._new_threads()
        log.error("Model %s: %s", name, message)
        self._backoff.failed((name, version), message)

    def _new_threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._at_once, thread_name_prefix=threads.LOAD)

    def _end(self, key: tuple[str, int], task: asyncio.Task[LoadedModel]) -> None:
        self._loading.pop(key, None)
        self._late.pop(key, None)
        if not task.cancelled():
            # Retrieved because no one may wait for it any longer.
            task.exception()
