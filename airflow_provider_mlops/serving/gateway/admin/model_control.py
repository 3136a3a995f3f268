"""Changes of what is served, in this process or in all workers of the gateway."""

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
_PATIENCE_SECONDS = 120.0


class ModelControl:
    """Carries changes out. Its methods run on the event loop.

    :param board: where the workers of one gateway tell each other; None for a single process.
    """

    def __init__(
        self, models: ServedModels, compact: Callable[[], Awaitable[int]], board: WorkerChannel | None
    ) -> None:
        self._models = models
        self._compact = compact
        self._board = board
        self._turn = asyncio.Lock()
        self._fresh = True

    async def load(self, name: str, version: int) -> ServedModel:
        """Load a version beside the others. Raises RequestError as `ServedModels.load`."""
        model = await self._models.load(name, version)
        await self._tell(Change("load", name, version))
        return model

    async def activate(self, name: str, version: int, *, champion: bool = False) -> ServedModel:
        """Let a version answer from now on. Raises RequestError as `ServedModels.activate`."""
        if self._board is None:
            return await self._models.activate(name, version, champion=champion)
        # What cannot be served is refused before the others hear of it.
        model = await self._models.load(name, version)
        alias = version if champion else self._models.aliased(name)
        await self._tell(Change("activate", name, version, champion, alias))
        return model

    async def deactivate(self, name: str, version: int) -> ServedModel:
        """Let a version answer no longer. Raises RequestError as `ServedModels.deactivate`."""
        if self._board is None:
            return self._models.deactivate(name, version)
        model = self._models.get(name)
        await self._tell(Change("deactivate", name, version, alias=self._models.aliased(name)))
        return model

    async def compact(self) -> int:
        """Compact the log, all workers their own. Returns the number of this process's segments."""
        done = await self._compact()
        await self._tell(Change("compact"))
        return done

    async def follow(self) -> None:
        """Carry out what other workers have announced, for ever."""
        assert self._board is not None
        while True:
            try:
                await self.catch_up()
            except Exception:
                log.exception("What the other workers have changed cannot be read")
            await asyncio.sleep(FOLLOW_SECONDS)

    async def _tell(self, change: Change) -> None:
        if self._board is None:
            return
        position = self._board.announce(change)
        await self.catch_up()
        if not await self._board.wait_until_applied(position, _PATIENCE_SECONDS):
            raise RequestError(503, f"not all workers have followed within {_PATIENCE_SECONDS:.0f} s", Retry_After="5")

    async def catch_up(self) -> None:
        """Carry out what has been announced and is not carried out yet."""
        assert self._board is not None
        async with self._turn:
            changes = self._board.unread()
            for change, position in changes:
                # To a worker that has just started, what the champion alias has overtaken since is history.
                if not self._fresh or change.what == "load" or change.alias == self._models.aliased(change.model):
                    await self._carry_out(change)
                self._board.acknowledge(position)
            self._fresh = False

    async def _carry_out(self, change: Change) -> None:
        try:
            if change.what == "load":
                await self._models.load(change.model, change.version)
            elif change.what == "activate":
                await self._models.activate(change.model, change.version, champion=change.champion)
            elif change.what == "deactivate":
                self._models.deactivate(change.model, change.version)
            elif not self._fresh:
                await self._compact()
        except RequestError as refusal:
            log.error("This worker cannot %s version %d of %s: %s", change.what, change.version, change.model, refusal)
        except Exception as error:
            log.error("This worker cannot %s: %s", change.what, error)
