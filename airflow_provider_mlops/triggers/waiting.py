"""The loop that all triggers share: check, log what was seen, sleep, check again."""

from __future__ import annotations

import asyncio
import inspect
from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypedDict, TypeVar

from airflow.triggers.base import BaseEventTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from airflow_provider_mlops.errors import BackendUnavailableError
from airflow_provider_mlops.triggers.events import TimedOutEvent

EventT = TypeVar("EventT", bound=Mapping[str, object])


@dataclass(frozen=True)
class Observation(Generic[EventT]):
    """The result of one check.

    :param seen: what was seen, as a phrase for the log: `120 so far`.
    :param event: the payload to fire with; None if the wait is not over.
    """

    seen: str
    event: EventT | None = None


class WaitingArguments(TypedDict, total=False):
    """The keyword arguments that all triggers take."""

    poke_interval: float
    """Seconds between two checks."""
    deadline: str | None
    """ISO 8601 time at which to give up; None to wait indefinitely."""


class WaitingTrigger(BaseEventTrigger, Generic[EventT]):
    """Checks for something every `poke_interval` seconds, logs what it sees, and fires with what it finds.

    Everything that a trigger knows is in its keyword arguments, which Airflow stores, so it survives a restart of the
    triggerer. They hold the ids of connections, never secrets. If it watches an asset, it continues with the next
    thing; after a restart it may fire once more for the last one.

    :param poke_interval: seconds between two checks.
    :param deadline: ISO 8601 time at which to fire with a `TimedOutEvent`; None to wait indefinitely.
    """

    def __init__(self, *, poke_interval: float = 60.0, deadline: str | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.poke_interval = poke_interval
        self.deadline = deadline
        self.last_seen = "nothing, because no check was made"

    @abstractmethod
    def waiting_for(self) -> str:
        """Return what is awaited, as a phrase that follows "Waiting for": `500 labels of churn`."""

    @abstractmethod
    def observe(self) -> Observation[EventT]:
        """Check once. Runs in a thread, so it may block."""

    @abstractmethod
    def advance(self, event: EventT) -> None:
        """Wait for what comes after this event from now on."""

    def seconds_to_next_check(self) -> float:
        """Return how long to wait after a check that found nothing."""
        return self.poke_interval

    def check(self) -> EventT | None:
        """Check once and log what was seen. Returns None if the wait is not over.

        Raises BackendUnavailableError and InvalidSpecError.
        """
        try:
            observation = self.observe()
        except BackendUnavailableError as error:
            self.last_seen = str(error)
            raise
        self.last_seen = observation.seen
        self.log.info(
            "%s %s: %s",
            "Waiting for" if observation.event is None else "Finished waiting for",
            self.waiting_for(),
            observation.seen,
        )
        return observation.event

    def check_if_available(self) -> EventT | None:
        """Check once like `check`, but log a warning and return None if the backend is unavailable."""
        try:
            return self.check()
        except BackendUnavailableError as error:
            self.log.warning(
                "Waiting for %s: %s Checking again in %g s.", self.waiting_for(), error, self.seconds_to_next_check()
            )
            return None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class and its keyword arguments."""
        names = [
            parameter.name
            for parameter in inspect.signature(type(self)).parameters.values()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        ]
        arguments = {name: getattr(self, name) for name in (*names, "poke_interval")}
        if self.deadline is not None:
            arguments["deadline"] = self.deadline
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Fire with each event, or once the deadline has passed. An unavailable backend is waited for."""
        check = sync_to_async(self.check_if_available, thread_sensitive=False)
        while True:
            # That a user canceled the task is in the message of the CancelledError, which sync_to_async loses.
            event = await asyncio.shield(asyncio.ensure_future(check()))
            left = self._seconds_left()
            if event is not None:
                yield TriggerEvent(event)  # type: ignore[no-untyped-call]
                self.advance(event)
            elif left is not None and left <= 0:
                yield TriggerEvent(TimedOutEvent(timed_out=self.last_seen))  # type: ignore[no-untyped-call]
                return
            pause = self.seconds_to_next_check()
            await asyncio.sleep(pause if left is None else min(pause, max(left, 0)))

    def _seconds_left(self) -> float | None:
        if self.deadline is None:
            return None
        return (datetime.fromisoformat(self.deadline) - datetime.now(UTC)).total_seconds()
