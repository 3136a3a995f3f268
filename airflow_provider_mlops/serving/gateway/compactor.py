"""Compacts the prediction log of a gateway process, and knows whether it can."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor

from airflow_provider_mlops.serving.gateway.rollouts.rollout_follower import RolloutFollower
from airflow_provider_mlops.serving.gateway.settings import Settings
from airflow_provider_mlops.serving.log import compaction
from airflow_provider_mlops.serving.log.write_ahead import WriteAhead
from airflow_provider_mlops.serving.models import threads

log = logging.getLogger(__name__)

_SLOW_SECONDS = 60.0
"""Duration of a compaction from which on it is reported."""
_LAST_SECONDS = 10.0
"""How long a gateway that stops tries to compact its log; everything is on its disk."""


class Compactor:
    """Compactions of one process. Its methods run on the event loop; a thread does the work.

    Parameters
    ----------
    settings
        Storage, and the time between two compactions.
    write_ahead
        Log to compact.
    follower
        Copies the evidence of rollouts from the log, before its segments are deleted.
    """

    def __init__(self, settings: Settings, write_ahead: WriteAhead, follower: RolloutFollower) -> None:
        self._settings = settings
        self._write_ahead = write_ahead
        self._follower = follower
        # One thread: a compaction whose caller has stopped waiting still ends before the next one begins.
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=threads.COMPACT)
        self._began: float | None = None
        self._error: str | None = None

    async def compact(self) -> int:
        """Compact everything logged so far. Returns the number of segments; raises what the storage raises."""
        self._write_ahead.rotate()
        await self._follower.ingest_now()
        self._began = time.monotonic()
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._executor,
                compaction.compact,
                self._settings.storage_uri,
                self._write_ahead,
                self._follower.is_ingested,
            )
        finally:
            self._began = None

    async def compact_regularly(self) -> None:
        """Compact the log. Never raises; an error is logged and reported as the problem."""
        try:
            await self.compact()
            self._error = None
        except Exception as error:
            self._error = str(error)
            log.error(
                "Could not compact the prediction log: %s. Predictions stay in the write-ahead log, and the gateway "
                "tries again in %g s. Check the storage if this continues",
                str(error).rstrip("."),
                self._settings.compact_seconds,
            )

    async def compact_at_the_end(self) -> None:
        """Compact the log for a limited time, because the gateway stops. Never raises."""
        try:
            await asyncio.wait_for(self.compact(), _LAST_SECONDS)
        except Exception as error:
            is_slow = isinstance(error, TimeoutError)
            log.warning(
                "Could not compact the prediction log: %s. The next gateway to start will do it",
                f"the storage has not answered for {_LAST_SECONDS:.0f} s" if is_slow else str(error).rstrip("."),
            )

    def problem(self) -> str | None:
        """Return why the log is not compacted; None if it is."""
        seconds = 0.0 if self._began is None else time.monotonic() - self._began
        error = f"the storage has not answered for {seconds:.0f} s" if seconds > _SLOW_SECONDS else self._error
        return None if error is None else f"the prediction log is not compacted: {error}"

    def close(self) -> None:
        """Stop the thread, after its present compaction."""
        self._executor.shutdown(wait=False, cancel_futures=True)
