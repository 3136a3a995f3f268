"""A replay of a dataset against a gateway: each request at its time, and its label or reward some time later."""

from __future__ import annotations

import asyncio
import math
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from urllib.parse import quote

import orjson
import uvloop

from airflow_provider_mlops.serving.client.client import GatewayClient
from airflow_provider_mlops.serving.client.credentials import ClientTls
from airflow_provider_mlops.serving.log import prediction_id
from airflow_provider_mlops.serving.rollouts.evidence.evidence_delta import is_correct
from airflow_provider_mlops.serving.rollouts.value_text import as_text
from airflow_provider_mlops.serving.traffic.arrivals import arrivals, expected
from airflow_provider_mlops.serving.traffic.connection import Connection, HttpResponse, UnansweredError
from airflow_provider_mlops.serving.traffic.feedback import Feedback, FeedbackEntry
from airflow_provider_mlops.serving.traffic.record import Record
from airflow_provider_mlops.serving.traffic.requests import Request, Requests
from airflow_provider_mlops.serving.traffic.source import Source
from airflow_provider_mlops.serving.traffic.summary import Summary
from airflow_provider_mlops.serving.traffic.traffic import CORRECT, Traffic

_PROGRESS_SECONDS = 0.2
_GRACE_SECONDS = 1.0
"""Time after the end in which requests that were due before it may still be sent."""


class Replay:
    """One replay of a dataset.

    The constructor raises BackendUnavailableError if the gateway is unavailable, and InvalidSpecError if it does not
    serve the model or if the dataset lacks columns that the model needs.

    Parameters
    ----------
    on_progress
        Function that is called several times per second during the replay.
    key
        Key to send, instead of the one that `traffic` names.
    tls
        Files for TLS, instead of those that `traffic` names.

    Attributes
    ----------
    summary
        Outcomes so far.
    expected
        Approximate number of requests; None if they never end.
    """

    def __init__(
        self,
        traffic: Traffic,
        on_progress: Callable[[Replay], None] | None = None,
        *,
        key: str | None = None,
        tls: ClientTls | None = None,
    ) -> None:
        source = Source(traffic.dataset)
        key, tls = key or traffic.key(), tls or traffic.tls()
        with GatewayClient(traffic.gateway_url, key, min(10.0, traffic.timeout), tls=tls) as gateway:
            inputs = gateway.metadata(traffic.model)["inputs"]
        self._connect = partial(Connection, traffic.gateway_url, traffic.timeout, key, tls.context())
        self._requests = Requests(traffic, source, inputs)
        self._record = Record(traffic.record)
        self._traffic = traffic
        self._on_progress = on_progress
        self._path = f"/models/{quote(traffic.model, safe='')}/invocations"
        self._start = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._sleeping: set[asyncio.Future[bool]] = set()
        self._clients: list[asyncio.Task[None]] = []
        self._telling: asyncio.Task[None]
        self.summary = Summary()
        self.expected = expected(traffic, source.rows)

    def run(self, *, handle_signals: bool = False) -> Summary:
        """Replay to the end in a new event loop.

        Parameters
        ----------
        handle_signals
            Whether Ctrl-C and SIGTERM stop the replay. Only possible in the main thread.
        """
        return uvloop.run(self.play(handle_signals=handle_signals))

    async def play(self, *, handle_signals: bool = False) -> Summary:
        """Replay to the end in the current event loop; see `run`."""
        self._loop = asyncio.get_running_loop()
        if handle_signals:
            for number in (signal.SIGINT, signal.SIGTERM):
                self._loop.add_signal_handler(number, self._stop)
        feedback = Feedback(self._traffic, self._connect(), self.summary.labels, self._record)
        self._start = time.perf_counter()
        due = zip(arrivals(self._traffic), self._requests, strict=False)
        self._clients = [asyncio.create_task(self._client(due, feedback)) for _ in range(self._traffic.clients)]
        self._telling = asyncio.create_task(feedback.send())
        progress = asyncio.create_task(self._progress())
        try:
            await asyncio.wait(self._clients)
            self.summary.seconds = time.perf_counter() - self._start
            if self.summary.stopped:
                self._telling.cancel()
            feedback.complete()
            for task in self._clients:
                if not task.cancelled():
                    task.result()
            await asyncio.wait([self._telling])
            if not self._telling.cancelled():
                self._telling.result()
        finally:
            for task in (*self._clients, self._telling, progress):
                task.cancel()
            await asyncio.gather(*self._clients, self._telling, progress, return_exceptions=True)
            self._record.close()
        self.summary.problem = self.summary.problem or feedback.problem
        return self.summary

    def stop(self) -> None:
        """Stop the replay from another thread: wait for requests in flight, and skip labels that are not due yet."""
        if self._loop is None:
            self.summary.stopped = True
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        if self.summary.stopped or self._are_answered:
            # Stopped twice, or only labels are left: cancel everything.
            for task in (*self._clients, self._telling):
                task.cancel()
        self.summary.stopped = True
        for sleeper in self._sleeping:
            if not sleeper.done():
                sleeper.set_result(False)

    @property
    def _are_answered(self) -> bool:
        return all(client.done() for client in self._clients)

    async def _client(self, due: Iterator[tuple[float, Request]], feedback: Feedback) -> None:
        """Take the next request, wait until it is due, send it, and repeat. An idle client holds one request."""
        connection = self._connect()
        end = self._start + (self._traffic.seconds or math.inf) + _GRACE_SECONDS
        try:
            for after, request in due:
                if not await self._wait_until(self._start + after):
                    return
                now = time.perf_counter()
                if now > end:
                    self.summary.unsent += 1
                    continue
                self.summary.behind.add(max(0.0, now - self._start - after))
                await self._send(connection, request, feedback)
        finally:
            connection.close()

    async def _send(self, connection: Connection, request: Request, feedback: Feedback) -> None:
        summary = self.summary
        summary.requests += 1
        sent = time.perf_counter()
        try:
            answer = await connection.post(self._path, request.content, request.headers)
        except UnansweredError as error:
            summary.failed[error.cause] += 1
            self._record.failed(error.cause)
            summary.problem = summary.problem or str(error)
            return
        except asyncio.CancelledError:
            summary.failed["stopped"] += 1
            self._record.failed("stopped")
            raise
        if answer.status != 200 or not {b"x-prediction-id", b"x-model-version"} <= answer.headers.keys():
            summary.refused[answer.status] += 1
            self._record.refused(answer.status)
            summary.problem = summary.problem or (f"{answer.status} {answer.content[:300].decode(errors='replace')}")
            return
        seconds, rows = time.perf_counter() - sent, len(request.outcomes)
        version = int(answer.headers[b"x-model-version"])
        self._record.answered(answer.headers[b"x-prediction-id"].decode(), version, rows, seconds)
        summary.latency.add(seconds)
        summary.answered += 1
        summary.rows += rows
        summary.versions[version] += 1
        if self._traffic.sends_feedback:
            feedback.add(self._feedback_for(request, answer))

    def _feedback_for(self, request: Request, answer: HttpResponse) -> Iterator[FeedbackEntry]:
        """Yield the feedback for the rows of an answered request."""
        ids = prediction_id.of_rows(answer.headers[b"x-prediction-id"].decode(), len(request.outcomes))
        predictions = None
        if self._traffic.reward_from == CORRECT:
            predictions = orjson.loads(answer.content)["predictions"]
        for position, outcome in enumerate(request.outcomes):
            if outcome is None:
                continue
            label, reward = outcome
            entry: FeedbackEntry = {"prediction_id": ids[position]}
            if label is not None:
                entry["label"] = label
                if predictions is not None:
                    reward = float(is_correct(predictions[position], as_text(label)))
            if reward is not None:
                entry["reward"] = reward
            yield entry

    async def _wait_until(self, moment: float) -> bool:
        """Wait for a moment, and return whether the replay goes on; False if it was stopped."""
        if self.summary.stopped:
            return False
        left = moment - time.perf_counter()
        if left <= 0:
            return True
        loop = asyncio.get_running_loop()
        sleeper = loop.create_future()
        timer = loop.call_later(left, _wake, sleeper)
        self._sleeping.add(sleeper)
        try:
            return bool(await sleeper)
        finally:
            timer.cancel()
            self._sleeping.discard(sleeper)

    async def _progress(self) -> None:
        while self._on_progress is not None:
            if not self._are_answered:
                self.summary.seconds = time.perf_counter() - self._start
            self._on_progress(self)
            await asyncio.sleep(_PROGRESS_SECONDS)


def _wake(sleeper: asyncio.Future[bool]) -> None:
    if not sleeper.done():
        sleeper.set_result(True)
