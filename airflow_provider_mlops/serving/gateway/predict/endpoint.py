"""The requests for predictions, of both protocols: from the connection to the batch and back.

This is plain ASGI and stands in front of Starlette, whose routing and request objects cost more than a prediction.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import lru_cache, partial
from typing import TypeVar

from starlette.types import ASGIApp, Receive, Scope, Send

from airflow_provider_mlops.serving.gateway.http.metrics import Metrics
from airflow_provider_mlops.serving.gateway.predict import predictor, verification
from airflow_provider_mlops.serving.gateway.predict.batcher import Batcher
from airflow_provider_mlops.serving.gateway.predict.job import Job, Prediction
from airflow_provider_mlops.serving.gateway.predict.predictor import PredictionLogWriter
from airflow_provider_mlops.serving.gateway.predict.routed_request import RoutedRequest, read_request, route_request
from airflow_provider_mlops.serving.gateway.predict.shadows import AnsweredRequest, ShadowCopy, Shadows
from airflow_provider_mlops.serving.gateway.rollout_follower import RolloutFollower
from airflow_provider_mlops.serving.gateway.settings import Settings
from airflow_provider_mlops.serving.models.loaded_model import LoadedModel
from airflow_provider_mlops.serving.models.served_model import ServedModel
from airflow_provider_mlops.serving.models.served_models import ServedModels
from airflow_provider_mlops.serving.policy import policy
from airflow_provider_mlops.serving.protocols import invocations, protocol_v2
from airflow_provider_mlops.serving.protocols.body import Body, read_tensors
from airflow_provider_mlops.serving.protocols.request import Read, Request
from airflow_provider_mlops.serving.rollouts.route import Route
from airflow_provider_mlops.serving.rollouts.strategies import ShadowStrategy
from airflow_provider_mlops.serving.rows.input_schema import InputSchema
from airflow_provider_mlops.serving.rows.request_error import ModelFailureError, RequestError

log = logging.getLogger(__name__)

_LARGE_BYTES = 32 * 1024
"""A body larger than this is read and predicted in a thread, by itself: the event loop is for what is quick."""

T = TypeVar("T")
PredictRoute = tuple[Read, str | None, str | None]


@lru_cache(maxsize=1024)
def match_route(path: str) -> PredictRoute | None:
    """Which protocol, model and version a path asks for a prediction; None if it asks for something else.

    >>> match_route("/v2/models/churn/versions/3/infer")[1:]
    ('churn', '3')
    >>> match_route("/v2/models/churn") is None
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
    """The version that a path names. Raises RequestError (404)."""
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise RequestError(404, f"there is no version {text[:100]!r}: versions are numbers", "version")
    return int(text)


class _RequestLabels:
    """What is known of a request when it comes to count it."""

    __slots__ = ("arm", "model", "received", "rows", "version")

    def __init__(self) -> None:
        self.model = self.arm = ""
        self.version: int | None = None
        self.received = 0.0
        self.rows = 0


class PredictEndpoint:
    """Answers requests for predictions; an ASGI application.

    Each version predicts in threads of its own: one that hangs takes no other with it.

    :param following: the rollouts that are under way.
    :param readers: the threads that read large requests before it is known who answers.
    """

    def __init__(
        self,
        models: ServedModels,
        following: RolloutFollower,
        shadows: Shadows,
        writer: PredictionLogWriter,
        readers: Executor,
        settings: Settings,
        token: str,
        metrics: Metrics,
    ) -> None:
        self._models = models
        self._following = following
        self._shadows = shadows
        self._writer = writer
        self._readers = readers
        self._settings = settings
        self._token = token
        self._metrics = metrics
        self._batchers: dict[LoadedModel, Batcher] = {}
        self._large = 0
        self.under_way = 0

    def close(self) -> None:
        """Predict what is under way, and nothing more."""
        for batcher in self._batchers.values():
            batcher.executor.shutdown(wait=False, cancel_futures=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        asked = _RequestLabels()
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
        except RequestError as refusal:
            status, headers, content = refusal.raw()
            self._metrics.refused(asked.model, asked.version, asked.arm, status)
        except Exception as error:
            log.exception("A defect of the gateway")
            status, headers, content = RequestError(500, f"a defect of the gateway: {type(error).__name__}").raw()
            self._metrics.refused(asked.model, asked.version, asked.arm, status)
        finally:
            self.under_way -= 1
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _predict(self, scope: Scope, receive: Receive, asked: _RequestLabels) -> Prediction:
        if self.under_way > self._settings.max_requests:
            raise RequestError(429, f"{self.under_way - 1} requests are under way already", Retry_After="1")
        found = match_route(scope["path"])
        assert found is not None
        read, name, version = found
        served = self._models.sole_active() if name is None else self._models.get(name)
        asked.model = served.name
        headers = dict(scope["headers"])
        is_check = verification.is_verification(headers, self._token)
        body = await read_tensors(headers, receive, self._settings.max_body_bytes)
        asked.received = time.perf_counter()
        number = version_number(version)
        route = None if number is not None else self._following.route(served)
        if route is None:
            chosen = RoutedRequest(*served.choose(number))
        else:
            chosen = await route_request(route, served, headers, partial(self._read, read, body))
        if is_check:
            chosen = RoutedRequest(policy.verification(chosen.choice), chosen.model)
        asked.version, asked.arm = chosen.choice.version, chosen.choice.arm
        try:
            job = await self._answer(chosen, served, read, body, asked)
        except ModelFailureError as failure:
            if chosen.route is not None:
                self._following.failed(served.name, chosen.choice, asked.received, failure.message)
            raise
        prediction = job.outcome
        assert isinstance(prediction, Prediction)
        if chosen.route is not None:
            self._following.answered(served.name, chosen.choice)
            if chosen.route.copies:
                self._copy(chosen.route, served, AnsweredRequest(read, body, job.request, prediction))
        return prediction

    async def _answer(
        self, chosen: RoutedRequest, served: ServedModel, read: Read, body: Body, asked: _RequestLabels
    ) -> Job:
        """The job with its prediction. Raises RequestError."""
        model = chosen.model
        if len(body.content) > _LARGE_BYTES:
            job = await self._predict_large_body(partial(read_request, chosen, served, read, body), chosen, asked)
        else:
            job = Job(chosen.choice, asked.received, read_request(chosen, served, read, body))
            done = self._batcher(model).submit(job)
            if model.pace.quick:
                await done
            else:
                await self._bounded(done)
        asked.rows = job.request.rows.count
        if isinstance(job.outcome, RequestError):
            raise job.outcome
        return job

    async def _read(self, read: Read, body: Body, schema: InputSchema) -> Request:
        """Read a body before it is known who answers. Raises RequestError."""
        if len(body.content) <= _LARGE_BYTES:
            return read(body, schema)
        return await asyncio.get_running_loop().run_in_executor(self._readers, read, body, schema)

    def _copy(self, route: Route, served: ServedModel, copied: AnsweredRequest) -> None:
        choice = route.copy()
        model = None if choice is None else served.versions.get(choice.version)
        strategy = route.rollout.plan.strategy
        if choice is not None and model is not None and isinstance(strategy, ShadowStrategy):
            self._shadows.offer(route.rollout.id, strategy, model, ShadowCopy(choice, copied))

    async def _predict_large_body(
        self, read: Callable[[], Request], chosen: RoutedRequest, asked: _RequestLabels
    ) -> Job:
        if self._large >= self._settings.max_waiting:
            raise RequestError(429, f"{self._large} large requests wait already", Retry_After="1")
        self._large += 1
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        answer = partial(
            predictor.answer_body, read, asked.received, chosen.choice, chosen.model, self._writer, done
        )  # fmt: skip
        work = loop.run_in_executor(self._batcher(chosen.model).executor, answer)
        work.add_done_callback(self._large_one_is_done)
        try:
            return await self._bounded(work)
        finally:
            # A thread that is still at it sees that it is given up.
            done.cancel()

    def _large_one_is_done(self, work: asyncio.Future[Job]) -> None:
        self._large -= 1
        if not work.cancelled():
            # Asked for, since nobody may be waiting any more.
            work.exception()

    async def _bounded(self, work: asyncio.Future[T]) -> T:
        try:
            return await asyncio.wait_for(work, self._settings.predict_seconds)
        except TimeoutError:
            seconds = self._settings.predict_seconds
            raise ModelFailureError(503, f"no prediction within {seconds:.0f} seconds", Retry_After="5") from None

    def _batcher(self, model: LoadedModel) -> Batcher:
        found = self._batchers.get(model)
        if found is None:
            # Versions that were let go take their threads with them.
            loaded = {other for served in self._models.all() for other in served.versions.values()}
            self._batchers = {other: batcher for other, batcher in self._batchers.items() if other in loaded}
            settings = self._settings
            threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="predict")
            found = Batcher(model, self._writer, threads, settings.threads, settings.max_waiting)
            self._batchers[model] = found
        return found


class FastPathApp:
    """The ASGI application that the server calls: predictions go straight to `PredictEndpoint`, all else to `app`."""

    def __init__(self, app: ASGIApp, predictions: ASGIApp) -> None:
        self._app = app
        self._predictions = predictions

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer one request."""
        if scope["type"] == "http" and scope["method"] == "POST" and match_route(scope["path"]) is not None:
            return self._predictions(scope, receive, send)
        return self._app(scope, receive, send)
