"""Limits how many wrong keys an address may send."""

from __future__ import annotations

import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable

from airflow_provider_mlops.serving.gateway.access.addresses import client_network
from airflow_provider_mlops.serving.repeated_log import RepeatedLog
from airflow_provider_mlops.serving.rows.request_error import RequestError

log = RepeatedLog(logging.getLogger(__name__))

BURST = 60
"""Number of wrong keys that an address may send at once."""
PER_SECOND = 0.5
"""Number of wrong keys that it may send per second in the long run."""
_MAX_ADDRESSES = 10_000


class WrongKeysError(RequestError):
    """An address has sent too many wrong keys.

    Parameters
    ----------
    seconds
        When it may send the next one.
    """

    def __init__(self, seconds: float) -> None:
        wait = max(1, math.ceil(seconds))
        super().__init__(
            429,
            f"Too many wrong keys came from this address. Check the key, and retry in {wait} s.",
            "Authorization",
            Retry_After=str(wait),
        )


class WrongKeys:
    """The wrong keys of each address. Above the maximum, the addresses that sent none for longest are forgotten.

    Parameters
    ----------
    max_addresses
        Number of addresses that are remembered: IPv4 addresses, or the first 64 bits of IPv6 addresses.
    clock
        Source of the time in seconds.

    Examples
    --------
    >>> wrong_keys = WrongKeys(clock=lambda: 0.0)
    >>> for _ in range(BURST):
    ...     wrong_keys.count("192.0.2.7")
    >>> wrong_keys.count("192.0.2.8")
    >>> try:
    ...     wrong_keys.count("192.0.2.7")
    ... except WrongKeysError as error:
    ...     error.headers
    {'Retry-After': '2'}
    """

    def __init__(self, max_addresses: int = _MAX_ADDRESSES, clock: Callable[[], float] = time.monotonic) -> None:
        self._max = max_addresses
        self._clock = clock
        # How many more an address may send, and when that was known.
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._left)

    def count(self, address: str | None) -> None:
        """Count a wrong key. Raises WrongKeysError (429) if there were too many."""
        network, now = client_network(address or ""), self._clock()
        left, at = self._left.get(network, (float(BURST), now))
        left = min(float(BURST), left + PER_SECOND * (now - at))
        is_refused = left < 1
        self._left[network] = (left if is_refused else left - 1, now)
        self._left.move_to_end(network)
        if len(self._left) > self._max:
            self._left.popitem(last=False)
        if is_refused:
            log.warning(
                "wrong keys",
                "%s has sent more than %d wrong keys; its requests with wrong keys get status 429. Find the client "
                "that sends them, or block the address",
                address or "A client",
                BURST,
            )
            raise WrongKeysError((1 - left) / PER_SECOND)
