"""The requests for predictions, of both protocols: from the connection to the batch and back.

This is plain ASGI and stands in front of Starlette, whose routing and request objects cost more than a prediction.
"""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import Executor
from typing import TypeVar
from weakref import WeakKeyDictionary

from starlette.types import ASGIApp, Receive, Scope, Send

from airflow_provider_mlops.serving.gateway import predictor, verification
from airflow_provider_mlops.serving.gateway.batcher import Batcher
from airflow_provider_mlops.serving.gateway.job import Job, Prediction, Read
from airflow_provider_mlops.serving.gateway.metrics import Metrics
from airflow_provider_mlops.serving.gateway.settings import Settings
from airflow_provider_mlops.serving.log.write_ahead import WriteAhead
from airflow_provider_mlops.serving.models.loaded_model import LoadedModel
from airflow_provider_mlops.serving.models.served_models import ServedModels
from airflow_provider_mlops.serving.protocols import invocations, protocol_v2
from airflow_provider_mlops.serving.protocols.body import Body, read_tensors
from airflow_provider_mlops.serving.protocols.refusal import Refusal
from airflow_provider_mlops.serving.rollouts import routes
from airflow_provider_mlops.serving.rollouts.routes import Choice

log = logging.getLogger(__name__)

_LARGE_BYTES = 32 * 1024
"""A body larger than this is read and predicted in a thread, by itself: the event loop is for what is quick."""

T = TypeVar("T")
Address = tuple[Read, str | None, str | None]


def address(path: str) -> Address | None:
    """Which protocol, model and version a path asks for a prediction; None if it asks for something else.

    >>> address("/v2/models/churn/versions/3/infer")[1:]
    ('churn', '3')
    >>> address("/v2/models/churn") is None
    True
    """
    parts = path.split("/")
    match parts:
        case ["", "v2", "models", name, "infer"] if name:
            return protocol_v2.read, name, None
        case ["", "models" | "endpoints", name, "invocations"] if name:
            return invocations.read, name, None
        case ["", "v2", "models", name, "versions", version, "infer"] if name and version:
            return protocol_v2.read, name, version
        case ["", "invocations"]:
            return invocations.read, None, None
    return None


def version_number(text: str | None) -> int | None:
    """The version that a path names. Raises Refusal (404)."""
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise Refusal(404, f"there is no version {text[:100]!r}: versions are numbers", "version")
    return int(text)


class _Asked:
    """What is known of a request when it comes to count it."""

    __slots__ = ("arm", "model", "received", "rows", "version")

    def __init__(self) -> None:
        self.model = self.arm = ""
        self.version: int | None = None
        self.received = 0.0
        self.rows = 0


class Predictions:
    """Answers requests for predictions; an ASGI application.

    :param writer: where predictions are logged; None leaves the log out.
    """

    def __init__(
        self,
        models: ServedModels,
        writer: WriteAhead | None,
        executor: Executor,
        settings: Settings,
        token: str,
        metrics: Metrics,
    ) -> None:
        self._models = models
        self._writer = writer
        self._executor = executor
        self._settings = settings
        self._token = token
        self._metrics = metrics
        self._batchers: WeakKeyDictionary[LoadedModel, Batcher] = WeakKeyDictionary()
        self._large = 0
        self.under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        asked = _Asked()
        self.under_way += 1
        try:
            prediction = await self._predict(scope, receive, asked)
            content = prediction.encoded.content
            status = 200
            headers = [
                *prediction.encoded.headers,
                (b"content-length", b"%d" % len(content)),
                (b"x-prediction-id", prediction.id.encode()),
                (b"x-model-version", b"%d" % prediction.version),
            ]
            self._metrics.answered(
                asked.model, prediction.version, asked.arm, time.perf_counter() - asked.received, asked.rows
            )
        except Refusal as refusal:
            status, headers, content = refusal.raw()
            self._metrics.refused(asked.model, asked.version, asked.arm, status)
        except Exception as error:
            log.exception("A defect of the gateway")
            status, headers, content = Refusal(500, f"a defect of the gateway: {type(error).__name__}").raw()
            self._metrics.refused(asked.model, asked.version, asked.arm, status)
        finally:
            self.under_way -= 1
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _predict(self, scope: Scope, receive: Receive, asked: _Asked) -> Prediction:
        if self.under_way > self._settings.maximum_requests:
            raise Refusal(429, f"{self.under_way - 1} requests are under way already", Retry_After="1")
        found = address(scope["path"])
        assert found is not None
        read, name, version = found
        served = self._models.only() if name is None else self._models.get(name)
        asked.model = served.name
        headers = dict(scope["headers"])
        is_check = verification.is_verification(headers, self._token)
        body = await read_tensors(headers, receive, self._settings.maximum_body_bytes)
        asked.received = time.perf_counter()
        choice, model = served.choose(version_number(version))
        if is_check:
            choice = routes.verification(choice)
        asked.version, asked.arm = choice.version, choice.arm
        if len(body.content) > _LARGE_BYTES:
            prediction, asked.rows = await self._large_one(read, body, asked.received, choice, model)
            return prediction
        job = Job(choice, asked.received, read(body, model.schema))
        asked.rows = job.request.rows.count
        batcher = self._batchers.get(model)
        if batcher is None:
            batcher = self._batchers[model] = self._batcher(model)
        done = batcher.submit(job)
        if model.pace.quick:
            await done
        else:
            await self._bounded(done)
        outcome = job.outcome
        if isinstance(outcome, Refusal):
            raise outcome
        assert outcome is not None
        return outcome

    async def _large_one(
        self, read: Read, body: Body, received: float, choice: Choice, model: LoadedModel
    ) -> tuple[Prediction, int]:
        if self._large >= self._settings.maximum_waiting:
            raise Refusal(429, f"{self._large} large requests wait already", Retry_After="1")
        self._large += 1
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(
            self._executor, predictor.answer_body, read, body, received, choice, model, self._writer
        )
        work.add_done_callback(self._large_one_is_done)
        return await self._bounded(work)

    def _large_one_is_done(self, work: asyncio.Future[tuple[Prediction, int]]) -> None:
        self._large -= 1
        if not work.cancelled():
            # Asked for, since nobody may be waiting any more.
            work.exception()

    async def _bounded(self, work: asyncio.Future[T]) -> T:
        try:
            return await asyncio.wait_for(work, self._settings.predict_seconds)
        except TimeoutError:
            seconds = self._settings.predict_seconds
            raise Refusal(503, f"no prediction within {seconds:.0f} seconds", Retry_After="5") from None

    def _batcher(self, model: LoadedModel) -> Batcher:
        settings = self._settings
        return Batcher(model, self._writer, self._executor, settings.threads, settings.maximum_waiting)


class Front:
    """The ASGI application that the server calls: predictions go straight to `Predictions`, all else to `app`."""

    def __init__(self, app: ASGIApp, predictions: ASGIApp) -> None:
        self._app = app
        self._predictions = predictions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and scope["method"] == "POST" and address(scope["path"]) is not None:
            await self._predictions(scope, receive, send)
        else:
            await self._app(scope, receive, send)
