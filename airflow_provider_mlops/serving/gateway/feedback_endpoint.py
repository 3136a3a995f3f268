"""Accepts labels and rewards. Large bodies are parsed in a thread, to keep slow work off the event loop."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from airflow_provider_mlops.serving.gateway.access.access import Access, Caller
from airflow_provider_mlops.serving.gateway.access.doors import CALLER
from airflow_provider_mlops.serving.gateway.http.metrics import Metrics
from airflow_provider_mlops.serving.log.write_ahead import WriteAhead
from airflow_provider_mlops.serving.protocols import body, encoding, feedback
from airflow_provider_mlops.serving.protocols.memory_budget import MemoryBudget, Reservation
from airflow_provider_mlops.serving.rows.request_error import RequestError, json_response

_LARGE_BYTES = 64 * 1024
_MAX_LARGE = 8
"""Number of large bodies in progress; further ones are rejected with status 429."""

_FEW_LABELS = 1000
"""More labels are checked in a thread."""

Labels = list[tuple[str, str | None, float | None]]


class FeedbackEndpoint:
    """The endpoint `/feedback` of one process. Its methods run on the event loop.

    Parameters
    ----------
    write_ahead
        Log of the labels and rewards.
    max_body_bytes
        Maximum size of a body.
    metrics
        Metrics to update.
    memory
        Memory for requests in progress.
    access
        Decides which predictions a client may label.
    """

    def __init__(
        self,
        write_ahead: WriteAhead,
        max_body_bytes: int,
        metrics: Metrics,
        memory: MemoryBudget,
        access: Access,
    ) -> None:
        self._access = access
        self._memory = memory
        self._write_ahead = write_ahead
        self._max_body_bytes = max_body_bytes
        self._metrics = metrics
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="feedback")
        self._large = 0

    async def accept(self, request: Request) -> Response:
        """Accept labels and rewards. They are in the write-ahead log before the response is sent."""
        reservation = self._memory.reservation()
        try:
            return await self._accept(request, reservation)
        finally:
            reservation.release()

    async def _accept(self, request: Request, reservation: Reservation) -> Response:
        headers = dict(request.scope["headers"])
        content = await body.receive_json(headers, request.receive, self._max_body_bytes, reservation)
        caller: Caller = request.scope[CALLER]
        caller.spend("bytes", len(content))
        labels = await self._parse(content)
        caller.spend("labels", len(labels))
        loop = asyncio.get_running_loop()
        check = partial(self._access.check_predictions, caller, [name for name, _, _ in labels])
        if len(labels) <= _FEW_LABELS:
            check()
        else:
            await loop.run_in_executor(self._executor, check)
        try:
            await loop.run_in_executor(self._executor, self._write_ahead.feedback, labels)
        except OSError as error:
            raise RequestError(503, f"The label could not be logged: {error}. Retry later.", Retry_After="5") from error
        self._metrics.count_feedback(len(labels))
        return json_response({"accepted": len(labels)})

    def close(self) -> None:
        """Finish what is being logged."""
        self._executor.shutdown()

    async def _parse(self, content: bytes) -> Labels:
        if len(content) <= _LARGE_BYTES:
            return feedback.parse(encoding.decode_exactly(content))
        if self._large >= _MAX_LARGE:
            message = f"Too many large requests with labels are in progress ({self._large}). Retry later."
            raise RequestError(429, message, Retry_After="1")
        self._large += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, feedback.parse_large, content)
        finally:
            self._large -= 1
