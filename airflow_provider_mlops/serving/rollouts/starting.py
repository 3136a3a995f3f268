"""The rollouts that were in progress when a gateway started, until all their versions are loaded.

Without them, the champion would answer: users who had the candidate before the start would get another version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

LONGEST_SECONDS = 60.0
"""Time after which the champion answers, because the versions may not be available for long."""


class StartingRollouts:
    """The models whose requests wait for their rollout. Its methods are quick, and may be called from any thread.

    Examples
    --------
    >>> now = [0.0]
    >>> starting = StartingRollouts(lambda: now[0])
    >>> starting.waits("churn")
    True
    >>> starting.found(["churn"])
    >>> starting.waits("churn"), starting.waits("other")
    (True, False)
    >>> now[0] = 61.0
    >>> starting.waits("churn")
    False
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._are_known = False
        self._until: dict[str, float] = {}

    def found(self, models: Iterable[str]) -> None:
        """Take the models that have a rollout in progress. Calls after the first one change nothing."""
        if not self._are_known:
            until = self._clock() + LONGEST_SECONDS
            self._until = dict.fromkeys(models, until)
            self._are_known = True

    def unknown(self) -> None:
        """Let no request wait longer, because the rollouts cannot be read now."""
        self._are_known = True

    def started(self, model: str) -> None:
        """Let a model's requests go on, because its rollout has a route or is over."""
        self._until.pop(model, None)

    def waits(self, model: str) -> bool:
        """Return whether the requests for a model must wait."""
        if not self._are_known:
            return True
        until = self._until.get(model)
        return until is not None and self._clock() < until

    def models(self) -> list[str]:
        """Return the models whose requests must wait, as far as they are known."""
        return [model for model in list(self._until) if self.waits(model)]
