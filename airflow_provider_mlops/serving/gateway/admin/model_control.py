"""Changes which versions are served, in this process or in all workers of the gateway."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from airflow_provider_mlops.serving.gateway.admin.worker_channel import Change, WorkerChannel
from airflow_provider_mlops.serving.models.served_model import ServedModel
from airflow_provider_mlops.serving.models.served_models import ServedModels
from airflow_provider_mlops.serving.rows.request_error import RequestError

log = logging.getLogger(__name__)

FOLLOW_SECONDS = 0.1
_APPLY_SECONDS = 120.0
"""Maximum time that an admin request waits for all workers, in seconds."""


class ModelControl:
    """Applies changes. Its methods run on the event loop.

    Parameters
    ----------
    models
        Models in memory.
    compact
        Compacts this process's log and returns the number of segments.
    channel
        Channel to the other workers; None for a single process.
    """

    def __init__(
        self, models: ServedModels, compact: Callable[[], Awaitable[int]], channel: WorkerChannel | None
    ) -> None:
        self._models = models
        self._compact = compact
        self._channel = channel
        self._catch_up_lock = asyncio.Lock()
        self._is_starting = True

    async def load(self, name: str, version: int) -> ServedModel:
        """Load a version without activating it. Raises RequestError as `ServedModels.load` does."""
        model = await self._models.load(name, version, again=True)
        await self._announce(Change("load", name, version))
        return model

    async def activate(self, name: str, version: int, *, champion: bool = False) -> ServedModel:
        """Activate a version. Raises RequestError as `ServedModels.activate` does."""
        if self._channel is None:
            return await self._models.activate(name, version, champion=champion, again=True)
        # A version that cannot be served is rejected before the other workers hear of it.
        model = await self._models.load(name, version, again=True)
        alias = version if champion else self._models.champions.version(name)
        await self._announce(Change("activate", name, version, champion, alias))
        return model

    async def deactivate(self, name: str, version: int) -> ServedModel:
        """Deactivate a version. Raises RequestError as `ServedModels.deactivate` does."""
        if self._channel is None:
            return self._models.deactivate(name, version)
        model = self._models.get(name)
        await self._announce(Change("deactivate", name, version, alias=self._models.champions.version(name)))
        return model

    async def compact(self) -> int:
        """Compact the logs of all workers. Returns the number of segments of this process."""
        segments = await self._compact()
        await self._announce(Change("compact"))
        return segments

    async def _announce(self, change: Change) -> None:
        if self._channel is None:
            return
        position = self._channel.announce(change)
        await self.catch_up()
        if not await self._channel.wait_until_applied(position, _APPLY_SECONDS):
            raise RequestError(
                503, f"Not all workers applied the change within {_APPLY_SECONDS:.0f} s. Retry later.", Retry_After="5"
            )

    async def catch_up(self) -> None:
        """Apply all announced changes that this worker has not applied yet."""
        assert self._channel is not None
        async with self._catch_up_lock:
            changes = self._channel.unread()
            for change, position in changes:
                # For a worker that has just started, changes older than the last move of the alias no longer apply.
                if (
                    not self._is_starting
                    or change.action == "load"
                    or change.alias == self._models.champions.version(change.model)
                ):
                    await self._apply(change)
                self._channel.acknowledge(position)
            self._is_starting = False

    async def _apply(self, change: Change) -> None:
        try:
            if change.action == "load":
                await self._models.load(change.model, change.version)
            elif change.action == "activate":
                await self._models.activate(change.model, change.version, champion=change.champion)
            elif change.action == "deactivate":
                self._models.deactivate(change.model, change.version)
            elif not self._is_starting:
                await self._compact()
        except RequestError as error:
            log.error(
                "This worker could not %s version %d of %s: %s",
                change.action,
                change.version,
                change.model,
                error.message,
            )
        except Exception as error:
            if change.action == "compact":
                log.error("This worker could not compact its prediction log: %s", error)
            else:
                log.error(
                    "This worker could not apply the change %r to version %s of %s: %s. If workers answer with "
                    "different versions, restart the gateway",
                    change.action,
                    change.version,
                    change.model,
                    error,
                )
