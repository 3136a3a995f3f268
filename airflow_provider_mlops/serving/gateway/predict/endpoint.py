"""Handles prediction requests of all protocols, from the body to the batch and back."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from functools import partial
from typing import TypeVar

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.serving.gateway.access.access import Access
from airflow_provider_mlops.serving.gateway.http import eager_start
from airflow_provider_mlops.serving.gateway.http.metrics import Metrics
from airflow_provider_mlops.serving.gateway.predict import predictor, verification
from airflow_provider_mlops.serving.gateway.predict.batcher import Batcher
from airflow_provider_mlops.serving.gateway.predict.incoming_request import (
    IncomingRequest,
    RequestLabels,
    deadline_passed,
)
from airflow_provider_mlops.serving.gateway.predict.job import Job, Prediction
from airflow_provider_mlops.serving.gateway.predict.prediction_threads import PredictionThreads
from airflow_provider_mlops.serving.gateway.predict.predictor import PredictionLogWriter, predict_unlogged
from airflow_provider_mlops.serving.gateway.predict.routed_request import (
    RoutedRequest,
    parse_for_version,
    route_request,
)
from airflow_provider_mlops.serving.gateway.predict.shadows import AnsweredRequest, ShadowCopy, Shadows
from airflow_provider_mlops.serving.gateway.rollouts.rollout_follower import RolloutFollower
from airflow_provider_mlops.serving.gateway.settings import Settings
from airflow_provider_mlops.serving.models.loaded_model import LoadedModel
from airflow_provider_mlops.serving.models.served_model import ServedModel
from airflow_provider_mlops.serving.models.served_models import ServedModels
from airflow_provider_mlops.serving.policy import policy
from airflow_provider_mlops.serving.protocols.body import Body
from airflow_provider_mlops.serving.protocols.headers import combined
from airflow_provider_mlops.serving.protocols.memory_budget import MemoryBudget, Reservation
from airflow_provider_mlops.serving.protocols.parsed_request import Parse, ParsedRequest
from airflow_provider_mlops.serving.protocols.routes import parse_version
from airflow_provider_mlops.serving.rollouts.plan.strategies import ShadowStrategy
from airflow_provider_mlops.serving.rollouts.route import Route
from airflow_provider_mlops.serving.rows.input_schema import InputSchema
from airflow_provider_mlops.serving.rows.request_error import (
    ModelFailureError,
    ModelRefusalError,
    RequestError,
    internal_error,
)

log = logging.getLogger(__name__)

_LARGE_BYTES = 32 * 1024
"""Larger bodies are parsed and predicted in a thread, alone, to keep slow work off the event loop."""

_PARSED_SIZE = 3
"""How much larger the parsed rows and the answer of a small request are than its body."""

T = TypeVar("T")


class PredictEndpoint:
    """Answers prediction requests; `http_endpoint` and `gateway/grpc` call it.

    Each version predicts in its own threads, so that one that hangs does not block the others.

    Parameters
    ----------
    models
        Models in memory.
    follower
        Rollouts that are in progress.
    shadows
        Shadows that receive copies of requests.
    writer
        Log of the predictions.
    parse_executor
        Threads that parse large bodies before a version is chosen.
    settings
        Limits.
    access
        Decides who may send requests.
    metrics
        Metrics to update.
    memory
        Memory for requests in progress.
    """

    def __init__(
        self,
        models: ServedModels,
        follower: RolloutFollower,
        shadows: Shadows,
        writer: PredictionLogWriter,
        parse_executor: Executor,
        settings: Settings,
        access: Access,
        metrics: Metrics,
        memory: MemoryBudget,
    ) -> None:
        self._models = models
        self._memory = memory
        self._follower = follower
        self._shadows = shadows
        self._writer = writer
        self._parse_executor = parse_executor
        self._settings = settings
        self._access = access
        self._metrics = metrics
        self._batchers: dict[LoadedModel, Batcher] = {}
        self.in_progress = 0

    def reservation(self) -> Reservation:
        """Return the memory of one request. The caller releases it when the response has been sent."""
        return self._memory.reservation()

    def hung(self) -> Iterator[tuple[LoadedModel, int, bool]]:
        """Yield the versions with predictions that hang, how many do, and whether the version gets no more requests."""
        for model, batcher in self._batchers.items():
            if batcher.threads.hung:
                yield model, batcher.threads.hung, batcher.threads.is_exhausted

    def close(self) -> None:
        """Stop accepting predictions; those that are running finish."""
        for batcher in self._batchers.values():
            batcher.threads.close()

    async def answer(self, request: IncomingRequest) -> Prediction | RequestError:
        """Predict one request of any protocol, and count it. Returns the error that rejects it, if any."""
        labels = RequestLabels(request.deadline)
        self.in_progress += 1
        try:
            prediction = await self._predict(request, labels)
            self._metrics.count_prediction(
                labels.model, prediction.version, labels.arm, time.perf_counter() - labels.received, labels.rows
            )
            return prediction
        except RequestError as error:
            self._metrics.count_error(labels.model, labels.version, labels.arm, error.status)
            return error
        except Exception as error:
            message = internal_error(log, error, f"a request for model {labels.model!r}")
            self._metrics.count_error(labels.model, labels.version, labels.arm, 500)
            return RequestError(500, message)
        finally:
            self.in_progress -= 1
            if labels.caller is not None:
                labels.caller.spend("rows", labels.rows)

    async def _predict(self, request: IncomingRequest, labels: RequestLabels) -> Prediction:
        if self.in_progress > self._settings.max_requests:
            raise RequestError(
                429, f"Too many requests are in progress ({self.in_progress - 1:,}). Retry later.", Retry_After="1"
            )
        parse, name, version = request.route
        caller = self._access.authorize(request.pairs, "prediction", name, request.address)
        served = self._models.sole_active() if name is None else self._models.get(name)
        if name is None:
            self._access.check_model(caller, "prediction", served.name)
        labels.caller, labels.model = caller, served.name
        headers = request.headers
        is_verification = verification.is_verification(headers)
        if is_verification:
            self._access.require(request.pairs, "administration", served.name, request.address)
        body = await request.receive()
        caller.spend("bytes", len(body.content))
        labels.received = time.perf_counter()
        if len(body.content) <= _LARGE_BYTES:
            # Small bodies are parsed before they wait for a batch; larger ones wait as they are.
            request.reservation.grow(_PARSED_SIZE * len(body.content))
        if labels.deadline is not None and labels.received >= labels.deadline:
            raise RequestError(504, "The deadline of the request passed before a version was chosen.")
        number = parse_version(version)
        route = None if number is not None else self._follower.route(served)
        if route is None:
            if number is None:
                self._follower.check_started(served)
            routed = RoutedRequest(*served.choose(number))
        else:
            # A sender, or a proxy on the way, may repeat a header.
            repeats = len(headers) != len(request.pairs)
            routed = await route_request(
                route, served, combined(request.pairs) if repeats else headers, partial(self._parse, parse, body)
            )
        if is_verification:
            routed = RoutedRequest(policy.verification(routed.choice), routed.model)
        labels.version, labels.arm = routed.choice.version, routed.choice.arm
        try:
            job = await self._run_job(routed, served, parse, body, labels)
        except ModelFailureError as failure:
            if routed.route is not None and not await self._champion_refuses(failure, routed, served, parse, body):
                self._follower.record_failure(served.name, routed.choice, labels.received, failure.reason)
            raise
        prediction = job.outcome
        assert isinstance(prediction, Prediction)
        # An empty batch says nothing about a version.
        if routed.route is not None and labels.rows:
            self._follower.record_success(served.name, routed.choice)
            if routed.route.copies:
                self._copy(routed.route, served, AnsweredRequest(parse, body, job.parsed, prediction))
        return prediction

    async def _run_job(
        self, routed: RoutedRequest, served: ServedModel, parse: Parse, body: Body, labels: RequestLabels
    ) -> Job:
        """Return the job with its prediction. Raises RequestError."""
        model = routed.model
        if len(body.content) > _LARGE_BYTES:
            job = await self._predict_large_body(
                partial(parse_for_version, routed, served, parse, body), routed, labels
            )
        else:
            job = Job(routed.choice, labels.received, parse_for_version(routed, served, parse, body))
            labels.rows = job.parsed.rows.count
            batcher = self._batcher(model)
            if not batcher.predict_now(job):
                done = batcher.submit(job)
                if model.pace.quick and labels.deadline is None:
                    await done
                else:
                    await self._with_timeout(done, batcher, labels.deadline)
        labels.rows = job.parsed.rows.count
        if isinstance(job.outcome, RequestError):
            raise job.outcome
        return job

    async def _champion_refuses(
        self, failure: ModelFailureError, routed: RoutedRequest, served: ServedModel, parse: Parse, body: Body
    ) -> bool:
        """Return whether the champion refuses the values of the request as well, so that the caller must change them.

        The champion predicts the request for that, which is rare, and neither logged nor answered.
        """
        if routed.route is None or not isinstance(failure, ModelRefusalError):
            return False
        champion = served.versions.get(routed.route.champion)
        if champion is None or champion is routed.model:
            return champion is not None
        batcher = self._batcher(champion)
        try:
            await self._with_timeout(batcher.threads.run(partial(predict_unlogged, parse, body, champion)), batcher)
        except ModelRefusalError:
            return True
        except RequestError as error:
            return not isinstance(error, ModelFailureError)
        return False

    async def _parse(self, parse: Parse, body: Body, schema: InputSchema) -> ParsedRequest:
        """Parse a body before a version is chosen. Raises RequestError."""
        if len(body.content) <= _LARGE_BYTES:
            return parse(body, schema)
        return await asyncio.get_running_loop().run_in_executor(self._parse_executor, parse, body, schema)

    def _copy(self, route: Route, served: ServedModel, answered: AnsweredRequest) -> None:
        choice = route.copy()
        model = None if choice is None else served.versions.get(choice.version)
        strategy = route.rollout.plan.strategy
        if choice is not None and model is not None and isinstance(strategy, ShadowStrategy):
            self._shadows.offer(route.rollout.id, strategy, model, ShadowCopy(choice, answered))

    async def _predict_large_body(
        self, parse: Callable[[], ParsedRequest], routed: RoutedRequest, labels: RequestLabels
    ) -> Job:
        batcher = self._batcher(routed.model)
        if batcher.large_requests >= self._settings.max_waiting:
            waiting = pluralize(batcher.large_requests, "large request")
            raise ModelFailureError(
                429, f"Too many requests are waiting for this version ({waiting}). Retry later.", Retry_After="1"
            )
        batcher.large_requests += 1
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        work = batcher.threads.run(
            partial(predictor.predict_body, parse, labels.received, routed.choice, routed.model, self._writer, done)
        )
        work.add_done_callback(partial(_end_large_request, batcher))
        try:
            return await self._with_timeout(work, batcher, labels.deadline)
        finally:
            # If a thread is still predicting, it sees that the job was abandoned.
            done.cancel()

    async def _with_timeout(self, work: asyncio.Future[T], batcher: Batcher, deadline: float | None = None) -> T:
        seconds = self._settings.predict_seconds
        left = seconds if deadline is None else deadline - time.perf_counter()
        await eager_start.inside_task()
        try:
            return await asyncio.wait_for(work, min(seconds, left))
        except TimeoutError:
            if left < seconds:
                raise deadline_passed(left) from None
            batcher.give_up(seconds)
            raise ModelFailureError(
                503,
                f"The prediction took longer than {seconds:g} s. Retry later, or send fewer rows per request.",
                Retry_After="5",
            ) from None

    def _batcher(self, model: LoadedModel) -> Batcher:
        batcher = self._batchers.get(model)
        if batcher is None:
            # Unloaded versions lose their threads.
            loaded = {version for served in self._models.all() for version in served.versions.values()}
            self._batchers = {version: batcher for version, batcher in self._batchers.items() if version in loaded}
            settings = self._settings
            threads = PredictionThreads(model.version, settings.threads)
            batcher = Batcher(model, self._writer, threads, settings.max_waiting)
            self._batchers[model] = batcher
        return batcher


def _end_large_request(batcher: Batcher, work: asyncio.Future[Job]) -> None:
    batcher.large_requests -= 1
    if not work.cancelled():
        # Retrieved because the caller may no longer wait; asyncio would log an exception that no one retrieves.
        work.exception()
