"""The threads in which one version predicts. A call that never returns costs its thread, not the version."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from airflow_provider_mlops.registry.model_version import ModelVersion
from airflow_provider_mlops.serving.models import threads as thread_names

log = logging.getLogger(__name__)

MAX_HUNG = 3
"""Number of calls in threads of their own that may hang before the version gets no more requests."""

T = TypeVar("T")


class PredictionThreads:
    """The threads of one version. Its methods run on the event loop.

    Parameters
    ----------
    version
        Version that predicts, for messages.
    count
        Number of calls that run at the same time.

    Attributes
    ----------
    count
        Number of calls that run at the same time.
    """

    def __init__(self, version: ModelVersion, count: int) -> None:
        self._version = version
        self.count = count
        self._executor = self._new_executor()
        self._loop = asyncio.get_running_loop()
        # When each call began, which its thread notes.
        self._began: dict[object, float] = {}
        self._given_up: set[object] = set()

    @property
    def hung(self) -> int:
        """Return the number of calls that were given up and have not returned."""
        return len(self._given_up)

    @property
    def is_exhausted(self) -> bool:
        """Return whether so many calls hang that the version gets no more requests."""
        return self.hung >= MAX_HUNG

    def run(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """Call a function in a thread."""
        key = object()

        def timed() -> T:
            self._began[key] = time.perf_counter()
            try:
                return call()
            finally:
                del self._began[key]
                if key in self._given_up:
                    # Said by the thread: the future of a caller that has stopped waiting is already done.
                    with contextlib.suppress(RuntimeError):
                        self._loop.call_soon_threadsafe(self._returned, key)

        return self._loop.run_in_executor(self._executor, timed)

    def give_up(self, seconds: float) -> int:
        """Give up calls that have run for about as long as a caller waits, and replace their threads.

        Returns the number of calls that were given up now.
        """
        now = time.perf_counter()
        # A caller also waits for its call to begin.
        late = [key for key, began in list(self._began.items()) if now - began > 0.9 * seconds]
        new = [key for key in late if key not in self._given_up]
        if new:
            self._given_up.update(new)
            # A call that returned just now has not seen that it was given up.
            self._given_up.difference_update(key for key in new if key not in self._began)
            self._executor.shutdown(wait=False)
            self._executor = self._new_executor()
            log.error(
                "A prediction of %s has not returned for %.1f s. Its thread was replaced; %d of at most %d hang%s",
                self._version,
                seconds,
                self.hung,
                MAX_HUNG,
                ". The version gets no more requests until they return or the gateway is restarted"
                if self.is_exhausted
                else "",
            )
        return len(new)

    def close(self) -> None:
        """Start no more calls; those that are running finish."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _returned(self, key: object) -> None:
        if key in self._given_up:
            self._given_up.remove(key)
            log.info("A prediction of %s that hung has returned; %d still hang", self._version, self.hung)

    def _new_executor(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.count, thread_name_prefix=thread_names.PREDICT)
