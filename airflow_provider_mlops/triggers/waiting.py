"""What the triggers have in common: look, sleep, look again, without holding up the triggerer."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from airflow_provider_mlops.errors import BackendUnavailableError


class WaitingTrigger(BaseEventTrigger):
    """Looks for something every `poke_interval` seconds and fires with what it has found.

    Everything a trigger knows is in its keyword arguments, which Airflow keeps, so it survives a restart
    of the triggerer. They hold the ids of connections and no secrets. As an asset's watcher it goes on
    looking for the next thing; after a restart it may fire once more for the last one.
    """

    def __init__(self, *, poke_interval: float = 60.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.poke_interval = poke_interval

    @abstractmethod
    def look(self) -> dict[str, Any] | None:
        """What has been found, as JSON; None if it is not there yet. Called in a thread; may block."""

    @abstractmethod
    def advance(self, found: dict[str, Any]) -> None:
        """Look for what comes after `found` from now on."""

    @abstractmethod
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments, beside `poke_interval`, that make this trigger anew."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """The class and its keyword arguments."""
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {**self.arguments(), "poke_interval": self.poke_interval}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Fire with each thing found. A backend that is away is waited for."""
        look = sync_to_async(self.look, thread_sensitive=False)
        while True:
            try:
                found = await look()
            except BackendUnavailableError as error:
                self.log.warning("Looking again in %s s: %s", self.poke_interval, error)
                found = None
            if found is not None:
                yield TriggerEvent(found)  # type: ignore[no-untyped-call]
                self.advance(found)
            await asyncio.sleep(self.poke_interval)
