"""The gateway: one ASGI application that answers predictions, logs them, takes labels, and can be administered."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version as installed_version
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.serving.gateway.admin import token
from airflow_provider_mlops.serving.gateway.admin.api import AdminApi
from airflow_provider_mlops.serving.gateway.admin.model_control import ModelControl
from airflow_provider_mlops.serving.gateway.admin.worker_channel import WorkerChannel
from airflow_provider_mlops.serving.gateway.http.metrics import CONTENT_TYPE, Metrics
from airflow_provider_mlops.serving.gateway.predict.endpoint import FastPathApp, PredictEndpoint, version_number
from airflow_provider_mlops.serving.gateway.predict.predictor import PredictionLogWriter
from airflow_provider_mlops.serving.gateway.predict.shadows import Shadows
from airflow_provider_mlops.serving.gateway.rollout_follower import RolloutFollower
from airflow_provider_mlops.serving.gateway.settings import Settings
from airflow_provider_mlops.serving.log import compaction, layout
from airflow_provider_mlops.serving.log.write_ahead import WriteAhead
from airflow_provider_mlops.serving.models.model_source import RegistrySource
from airflow_provider_mlops.serving.models.served_models import ServedModels
from airflow_provider_mlops.serving.protocols import body, encoding, feedback, openapi, protocol_v2
from airflow_provider_mlops.serving.rows.request_error import RequestError, json_response

log = logging.getLogger(__name__)

SERVER = "airflow-provider-mlops"
_LOAD_SECONDS = 20.0
"""How long one of several workers waits for its models before it takes connections."""
_CHECK_SECONDS = 0.5


class Gateway:
    """The state and the handlers of one gateway process."""

    def __init__(self, settings: Settings, registry: Registry, board: WorkerChannel | None = None) -> None:
        self._settings = settings
        source = RegistrySource(registry, settings.models, allow_pickle=settings.allow_pickle)
        self._models = ServedModels(source, settings.models)
        self._readers = ThreadPoolExecutor(settings.threads, thread_name_prefix="read")
        self._log_writer = ThreadPoolExecutor(1, thread_name_prefix="log")
        # One thread: a compaction that was given up by who waited for it still ends before the next one begins.
        self._compactor = ThreadPoolExecutor(1, thread_name_prefix="compact")
        self._write_ahead = WriteAhead(layout.write_ahead_root(settings.storage_uri))
        self._token = settings.token or token.find_or_make(settings.storage_uri)
        self._metrics = Metrics()
        self._following = RolloutFollower(settings, self._models, self._write_ahead, self._metrics)
        self._shadows = Shadows(self._write_ahead, self._metrics, self._following.shadowed)
        self._is_worker = board is not None
        self._changes = ModelControl(self._models, self.compact, board)
        self._loaded = asyncio.Event()
        self._predictions = PredictEndpoint(
            self._models,
            self._following,
            self._shadows,
            PredictionLogWriter(self._write_ahead, settings.prediction_log),
            self._readers,
            settings,
            self._token,
            self._metrics,
        )

    def asgi(self) -> FastPathApp:
        """The application that a server calls: `app`, with the requests for predictions on a shorter way."""
        return FastPathApp(self.app(), self._predictions)

    def app(self) -> Starlette:
        """The application with all its routes. Its lifespan loads the models and, at the end, compacts the log."""
        admin = AdminApi(self._models, self._following, self._token, self._changes)
        paths = [
            Route("/v2", self.server_metadata, methods=["GET"]),
            Route("/v2/health/live", self.live, methods=["GET"]),
            Route("/v2/health/ready", self.ready, methods=["GET"]),
            Route("/v2/models/{name}", self.model_metadata, methods=["GET"]),
            Route("/v2/models/{name}/ready", self.model_ready, methods=["GET"]),
            Route("/v2/models/{name}/infer", self._predictions, methods=["POST"]),
            Route("/v2/models/{name}/versions/{version}", self.model_metadata, methods=["GET"]),
            Route("/v2/models/{name}/versions/{version}/ready", self.model_ready, methods=["GET"]),
            Route("/v2/models/{name}/versions/{version}/infer", self._predictions, methods=["POST"]),
            Route("/invocations", self._predictions, methods=["POST"]),
            Route("/models/{name}/invocations", self._predictions, methods=["POST"]),
            # Where the client of `mlflow.deployments` looks for a model.
            Route("/endpoints/{name}/invocations", self._predictions, methods=["POST"]),
            Route("/metrics", self.metrics, methods=["GET"]),
            Route("/ping", self.live, methods=["GET"]),
            Route("/feedback", self.feedback, methods=["POST"]),
            Route("/openapi.json", self.openapi, methods=["GET"]),
            *admin.routes(),
        ]
        handlers: dict[Any, Any] = {RequestError: _refused, HTTPException: _http_error, Exception: _defect}
        return Starlette(routes=paths, exception_handlers=handlers, lifespan=self._lifespan)

    async def compact(self) -> int:
        """Compact all that was logged up to now. Returns the number of segments; raises what the storage raises."""
        self._write_ahead.rotate()
        await self._following.ingest_now()
        return await asyncio.get_running_loop().run_in_executor(
            self._compactor,
            compaction.compact,
            self._settings.storage_uri,
            self._write_ahead,
            self._following.is_ingested,
        )

    async def feedback(self, request: Request) -> Response:
        """Take labels. They are in the write-ahead log before the answer goes out."""
        headers = dict(request.scope["headers"])
        raw = await body.read(headers, request.receive, self._settings.max_body_bytes)
        labels = feedback.parse(encoding.parse_exactly(raw))
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._log_writer, self._write_ahead.feedback, labels)
        except OSError as error:
            raise RequestError(503, f"the label cannot be logged: {error}", Retry_After="5") from error
        self._metrics.labelled(len(labels))
        return json_response({"accepted": len(labels)})

    async def metrics(self, request: Request) -> Response:
        """The numbers for Prometheus."""
        content = self._metrics.text(self._weights(), self._predictions.under_way)
        return Response(content, headers={"content-type": CONTENT_TYPE.decode()})

    def _weights(self) -> Iterator[tuple[str, int, str, float]]:
        for served in self._models.all():
            route = self._following.route(served)
            policy = served.policy if route is None else route.policy
            if policy is not None:
                for (version, arm), weight in policy.weights().items():
                    yield served.name, version, arm, weight

    async def live(self, request: Request) -> Response:
        """Whether the process answers."""
        return json_response({"live": True})

    async def ready(self, request: Request) -> Response:
        """Whether the models are loaded: 200, or 503 with the reasons. What cannot be loaded is named in both."""
        reasons = self._models.waiting_for()
        failing = self._models.failing(self._following.wanted())
        return json_response({"ready": not reasons, "reasons": reasons, "failing": failing}, 503 if reasons else 200)

    async def model_ready(self, request: Request) -> Response:
        """Whether a model, or a version of it, answers: 200, or 404 with the reason."""
        name = request.path_params["name"]
        _, model = self._models.get(name).choose(_version(request))
        return json_response({"name": name, "version": str(model.version.version), "ready": True})

    async def model_metadata(self, request: Request) -> Response:
        """The inputs and outputs of a model, and its loaded versions."""
        served = self._models.get(request.path_params["name"])
        _, model = served.choose(_version(request))
        return json_response(protocol_v2.metadata(served.name, sorted(served.versions), model))

    async def server_metadata(self, request: Request) -> Response:
        """What this server is."""
        return json_response({"name": SERVER, "version": installed_version(SERVER), "extensions": [protocol_v2.BINARY]})

    async def openapi(self, request: Request) -> Response:
        """This API as an OpenAPI document."""
        return json_response(openapi.document(installed_version(SERVER)))

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        tasks = [
            asyncio.create_task(self._follow_champions()),
            asyncio.create_task(self._compact_now_and_then()),
            asyncio.create_task(self._following.follow()),
            asyncio.create_task(self._following.ingest()),
            asyncio.create_task(self._check_shadows()),
        ]
        if self._is_worker:
            # The others answer meanwhile; whoever listens gets its share of the connections.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._loaded.wait(), _LOAD_SECONDS)
            await self._changes.catch_up()
            tasks.append(asyncio.create_task(self._changes.follow()))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._models.close()
            self._predictions.close()
            self._readers.shutdown(wait=False, cancel_futures=True)
            self._log_writer.shutdown()
            self._shadows.close()
            try:
                await self.compact()
            except Exception as error:
                log.warning("The prediction log stays uncompacted until a gateway starts again: %s", error)
            await self._following.close()
            self._compactor.shutdown()
            self._write_ahead.close()

    async def _follow_champions(self) -> None:
        while True:
            await self._models.poll()
            if not self._loaded.is_set() and not self._models.waiting_for():
                # What has been imported and loaded stays: no collection of garbage need look at it and stop all for it.
                gc.collect()
                gc.freeze()
                self._loaded.set()
            await asyncio.sleep(self._settings.poll_seconds)

    async def _check_shadows(self) -> None:
        while True:
            self._shadows.check(self._following.is_under_way)
            await asyncio.sleep(_CHECK_SECONDS)

    async def _compact_now_and_then(self) -> None:
        while True:
            try:
                await self.compact()
                await self._following.forget()
            except Exception as error:
                log.error("The prediction log is not compacted; it stays in the write-ahead log: %s", error)
            await asyncio.sleep(self._settings.compact_seconds)


def _version(request: Request) -> int | None:
    return version_number(request.path_params.get("version"))


async def _refused(request: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, RequestError)
    return refusal.response()


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path[:200]}: {error.detail}"
    return json_response({"error": message}, error.status_code, dict(error.headers or {}))


async def _defect(request: Request, error: Exception) -> Response:
    return json_response({"error": f"a defect of the gateway: {type(error).__name__}"}, 500)
