"""The memory that one process allows for requests in progress."""

from __future__ import annotations

from airflow_provider_mlops.serving.rows.request_error import RequestError

SMALL_BYTES = 64 * 1024
"""Bodies up to this size may use all of the budget, so that large bodies that arrive slowly do not stop small ones."""
LARGE_SHARE = 7 / 8
"""Share of the budget that larger bodies may use."""


class MemoryBudget:
    """The bytes of all requests in progress in one process. Its methods run on the event loop.

    Nothing waits for memory: a request that does not fit is refused at once, so requests cannot block each other.

    Parameters
    ----------
    max_bytes
        Maximum number of bytes.

    Attributes
    ----------
    used
        Number of bytes in use.

    Examples
    --------
    >>> budget = MemoryBudget(1_000_000)
    >>> first, second = budget.reservation(), budget.reservation()
    >>> first.grow(800_000)
    >>> second.grow(400_000)
    Traceback (most recent call last):
        ...
    airflow_provider_mlops.serving.rows.request_error.RequestError: Requests in progress use all of the gateway's \
memory for them (800,000 of 1,000,000 bytes). Retry later.
    >>> first.release()
    >>> second.grow(400_000)
    >>> budget.used
    400000
    """

    __slots__ = ("max_bytes", "used")

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.used = 0

    def reservation(self) -> Reservation:
        """Return the share of one request, which is empty so far."""
        return Reservation(self)


class Reservation:
    """The share of one request in a budget."""

    __slots__ = ("_budget", "_bytes")

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self._bytes = 0

    def grow(self, count: int) -> None:
        """Reserve more bytes. Raises RequestError (429) if they are not available."""
        budget = self._budget
        used = budget.used + count
        size = self._bytes + count
        if used > budget.max_bytes or (size > SMALL_BYTES and used > budget.max_bytes * LARGE_SHARE):
            raise RequestError(
                429,
                f"Requests in progress use all of the gateway's memory for them ({budget.used:,} of "
                f"{budget.max_bytes:,} bytes). Retry later.",
                Retry_After="1",
            )
        budget.used = used
        self._bytes = size

    def replace(self, count: int) -> None:
        """Reserve this many bytes instead of what was reserved so far: an answer is never refused."""
        self._budget.used += count - self._bytes
        self._bytes = count

    def release(self) -> None:
        """Give everything back. The request may have no further use of memory."""
        self._budget.used -= self._bytes
        self._bytes = 0
