"""Work that a gateway repeats as long as it runs, whatever goes wrong in one round."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NoReturn

from airflow_provider_mlops.serving.repeated_log import RepeatedLog

log = RepeatedLog(logging.getLogger(__name__))


async def repeat(name: str, work: Callable[[], Awaitable[None]], seconds: float) -> NoReturn:
    """Do some work again and again, with a pause after each round. An exception is logged and ends only its round.

    Parameters
    ----------
    name
        The work in words, which completes "Could not ...".
    seconds
        Length of the pause.
    """
    while True:
        try:
            await work()
        except Exception as error:
            log.error((name, repr(error)), "Could not %s: %s: %s", name, type(error).__name__, error, exc_info=error)
        await asyncio.sleep(seconds)
