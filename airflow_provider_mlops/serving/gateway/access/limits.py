"""Limits of each client: requests, rows, bytes and labels per second.

Each limit is a bucket that holds what a client may use in one second, and is refilled all the time. A request is
accepted as long as nothing is used up. Its rows, bytes and labels are taken when they are known, even if they are more
than is left, and the client waits until the bucket has made up for them. So a client with a limit of 100 rows per
second may send 1,000 rows at once, and then nothing for nine seconds.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

from airflow_provider_mlops.serving.gateway.access.keys import Amount
from airflow_provider_mlops.serving.gateway.settings import Settings
from airflow_provider_mlops.serving.rows.request_error import RequestError

_MAX_BUDGETS = 10_000
_MAX_RETRY_SECONDS = 3600


def general_limits(settings: Settings) -> dict[Amount, float]:
    """Return the largest amounts per second of a client that has no limits of its own.

    >>> general_limits(Settings("/var/lib/mlops", client_rows=500.0))
    {'rows': 500.0}
    """
    limits: dict[Amount, float | None] = {
        "requests": settings.client_requests,
        "rows": settings.client_rows,
        "bytes": settings.client_bytes,
        "labels": settings.client_labels,
    }
    return {amount: rate for amount, rate in limits.items() if rate is not None}


class LimitError(RequestError):
    """A client has used up one of its limits. No version is charged for it.

    Parameters
    ----------
    amount
        What was used up.
    """

    def __init__(self, amount: Amount, rate: float, seconds: float) -> None:
        wait = min(_MAX_RETRY_SECONDS, max(1, math.ceil(seconds)))
        super().__init__(
            429,
            f"This client has used up its limit of {rate:g} {amount} per second. Retry in {wait} s.",
            Retry_After=str(wait),
        )
        self.amount = amount


class Budget:
    """The amounts that a client may still use.

    Parameters
    ----------
    limits
        Largest amounts per second.
    clock
        Source of the time in seconds.

    Examples
    --------
    >>> now = [0.0]
    >>> budget = Budget({"rows": 100}, clock=lambda: now[0])
    >>> budget.spend("rows", 1000)
    >>> budget.wait("rows")
    9.0
    >>> now[0] = 9.5
    >>> budget.wait("rows")
    0.0
    """

    __slots__ = ("_at", "_clock", "_left", "limits")

    def __init__(self, limits: Mapping[Amount, float], clock: Callable[[], float] = time.monotonic) -> None:
        self.limits = dict(limits)
        self._clock = clock
        self._left = {amount: max(1.0, rate) for amount, rate in limits.items()}
        self._at = dict.fromkeys(limits, clock())

    def check(self, amounts: Sequence[Amount]) -> None:
        """Raise LimitError if one of these amounts is used up."""
        for amount in amounts:
            if amount in self.limits and (seconds := self.wait(amount)) > 0:
                raise LimitError(amount, self.limits[amount], seconds)

    def wait(self, amount: Amount) -> float:
        """Return the seconds until the client may use more of an amount."""
        rate = self.limits[amount]
        now = self._clock()
        left = min(max(1.0, rate), self._left[amount] + rate * (now - self._at[amount]))
        self._left[amount], self._at[amount] = left, now
        # A request takes one of the requests at the door; what it takes of the rest is not known there.
        needed = 1.0 if amount == "requests" else 0.0
        return max(0.0, (needed - left) / rate)

    def spend(self, amount: Amount, count: float) -> None:
        """Take an amount, even if less is left."""
        if amount in self.limits:
            self.wait(amount)
            self._left[amount] -= count


class Budgets:
    """The budgets of all clients of a process. Above the maximum, those that were not used longest are dropped."""

    def __init__(self, max_budgets: int = _MAX_BUDGETS) -> None:
        self._budgets: OrderedDict[str, Budget] = OrderedDict()
        self._max = max_budgets

    def of(self, client: str, limits: Mapping[Amount, float]) -> Budget:
        """Return the budget of a client, a new one if its limits have changed."""
        budget = self._budgets.get(client)
        if budget is None or budget.limits != limits:
            budget = self._budgets[client] = Budget(limits)
            if len(self._budgets) > self._max:
                self._budgets.popitem(last=False)
        self._budgets.move_to_end(client)
        return budget
