"""The champions of the models, as last looked up in MLflow, and the models that do not follow theirs yet."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import NamedTuple

_SILENT_SECONDS = 30.0
"""Time without an answer of MLflow after which the gateway reports it."""


class Behind(NamedTuple):
    """A model that does not follow its alias yet.

    Parameters
    ----------
    champion, previous
        Versions that the aliases point to.
    activations
        The model's activations when the aliases were looked up: a later one is newer than the alias.
    again
        Whether the alias moved while the gateway was running, which asks for the version again.
    """

    champion: int
    previous: int | None
    activations: int
    again: bool


class Champions:
    """The champions at the last look at MLflow. Its methods run on the event loop.

    `behind` holds the models that do not follow their champion yet, `are_known` says whether any look has succeeded,
    and `error` why the last one failed.
    """

    def __init__(self) -> None:
        self.behind: dict[str, Behind] = {}
        self.are_known = False
        self.error: str | None = None
        self._versions: dict[str, int] = {}
        # Models that were requested before they were loaded, the earliest first.
        self._requested: dict[str, None] = {}
        self._answered_at = time.monotonic()

    def __len__(self) -> int:
        return len(self._versions)

    def version(self, name: str) -> int | None:
        """Return a model's champion at the last look; None if it had none."""
        return self._versions.get(name)

    def names(self) -> list[str]:
        """Return the models that had a champion at the last look."""
        return list(self._versions)

    def silent_seconds(self) -> float:
        """Return the time since MLflow last answered."""
        return time.monotonic() - self._answered_at

    def answered(self) -> None:
        """Note that MLflow has answered now."""
        self._answered_at = time.monotonic()
        self.error = None

    def problem(self) -> str | None:
        """Return why the champions may be out of date; None if MLflow was asked recently."""
        if self.error is not None:
            return self.error
        silent = self.silent_seconds()
        return f"MLflow has not answered for {silent:.0f} s" if silent > _SILENT_SECONDS else None

    def saw(self, name: str, champion: int, previous: int | None, activations: int) -> None:
        """Note where the aliases of a model point. It is behind if its champion has moved."""
        moved = self._versions.get(name) != champion
        if moved or name in self.behind:
            again = name in self._versions if moved else self.behind[name].again
            self._versions[name] = champion
            self.behind[name] = Behind(champion, previous, activations, again)

    def activated(self, name: str, version: int) -> None:
        """Note that someone who has seen the alias has activated the champion."""
        self._versions[name] = version

    def forget(self, name: str) -> None:
        """Note that a model has no champion any longer."""
        self._versions.pop(name, None)
        self.behind.pop(name, None)

    def request(self, name: str) -> None:
        """Note that a model was requested before it was loaded."""
        self._requested[name] = None

    def next_behind(self, tried: Collection[str]) -> str | None:
        """Return the next model that is behind, with those that were requested first; None if all were tried."""
        requested = (name for name in self._requested if name in self.behind)
        name = next((name for name in (*requested, *self.behind) if name not in tried), None)
        if name is not None:
            self._requested.pop(name, None)
        return name
