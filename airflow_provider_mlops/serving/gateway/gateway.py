"""The gateway: an ASGI application that serves predictions, logs them, accepts labels, and has an admin API."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.serving.gateway.access import doors, tls
from airflow_provider_mlops.serving.gateway.access.access import Access
from airflow_provider_mlops.serving.gateway.access.keyring import REFRESH_SECONDS
from airflow_provider_mlops.serving.gateway.access.origins import allow_origins
from airflow_provider_mlops.serving.gateway.admin.api import AdminApi
from airflow_provider_mlops.serving.gateway.admin.model_control import FOLLOW_SECONDS, ModelControl
from airflow_provider_mlops.serving.gateway.admin.worker_channel import WorkerChannel
from airflow_provider_mlops.serving.gateway.compactor import Compactor
from airflow_provider_mlops.serving.gateway.feedback_endpoint import FeedbackEndpoint
from airflow_provider_mlops.serving.gateway.http.metrics import CONTENT_TYPE, Metrics
from airflow_provider_mlops.serving.gateway.information.api import InformationApi
from airflow_provider_mlops.serving.gateway.information.information import Information
from airflow_provider_mlops.serving.gateway.pages import pages
from airflow_provider_mlops.serving.gateway.predict.endpoint import PredictEndpoint
from airflow_provider_mlops.serving.gateway.predict.http_endpoint import FastPathApp, HttpPredictEndpoint
from airflow_provider_mlops.serving.gateway.predict.predictor import PredictionLogWriter
from airflow_provider_mlops.serving.gateway.predict.shadows import Shadows
from airflow_provider_mlops.serving.gateway.repetition import repeat
from airflow_provider_mlops.serving.gateway.rollouts.rollout_follower import RolloutFollower
from airflow_provider_mlops.serving.gateway.settings import Settings
from airflow_provider_mlops.serving.log import layout
from airflow_provider_mlops.serving.log.write_ahead import WriteAhead
from airflow_provider_mlops.serving.models.champion_follower import ChampionFollower
from airflow_provider_mlops.serving.models.crash_list import CrashList
from airflow_provider_mlops.serving.models.model_source import RegistrySource, Trial
from airflow_provider_mlops.serving.models.served_models import ServedModels
from airflow_provider_mlops.serving.protocols import compression, routes
from airflow_provider_mlops.serving.protocols.memory_budget import MemoryBudget
from airflow_provider_mlops.serving.protocols.responses import Readiness
from airflow_provider_mlops.serving.rollouts.evidence.ageing import AGEING_SECONDS
from airflow_provider_mlops.serving.rollouts.router import POLL_SECONDS
from airflow_provider_mlops.serving.rows.request_error import RequestError, internal_error, json_response

if TYPE_CHECKING:
    from airflow_provider_mlops.serving.gateway.grpc.server import GrpcServer

log = logging.getLogger(__name__)

DRAIN_SECONDS = 30
"""How long a gateway that stops waits for the requests in progress."""

_LOAD_SECONDS = 20.0
"""How long one of several workers waits for its models before it accepts connections, in seconds."""
_LOAD_CHECK_SECONDS = 0.02
_FOLLOW_SECONDS = 0.2
_SHADOW_CHECK_SECONDS = 0.5


class Gateway:
    """The state and the handlers of one gateway process.

    Parameters
    ----------
    settings
        Options of `airflow-mlops serve`.
    registry
        MLflow, from which models are loaded.
    channel
        Channel to the other workers; None for a single process.
    trial
        Tries each version in a process of its own before it is loaded.

    Attributes
    ----------
    is_stopping
        Whether the process was told to stop, so that nothing waits any longer.
    certificates
        The gateway's TLS certificate; None without TLS.
    """

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        channel: WorkerChannel | None = None,
        trial: Trial | None = None,
    ) -> None:
        self._settings = settings
        self.is_stopping = False
        crashes = CrashList.of_storage(settings.storage_uri)
        source = RegistrySource(
            registry, settings.models, allow_pickle=settings.allow_pickle, trial=trial, crashes=crashes
        )
        self._models = ServedModels(source, settings.models, default=settings.default_model)
        self._champions = ChampionFollower(source, self._models)
        self._parse_executor = ThreadPoolExecutor(settings.threads, thread_name_prefix="parse")
        self._write_ahead = WriteAhead(layout.write_ahead_root(settings.storage_uri))
        self._metrics = Metrics()
        self._access = Access(settings, self._metrics)
        self.certificates = tls.open_certificates(settings)
        self._information = Information(self._models, self._metrics, self.readiness, self._weights)
        self._follower = RolloutFollower(settings, self._models, self._write_ahead, self._metrics)
        self._compactor = Compactor(settings, self._write_ahead, self._follower)
        self._shadows = Shadows(self._write_ahead, self._metrics, self._follower.record_copy)
        self._is_worker = channel is not None
        self._control = ModelControl(self._models, self._compactor.compact, channel)
        self._admin = AdminApi(self._models, self._follower, self._control)
        self._loaded = asyncio.Event()
        memory = MemoryBudget(settings.max_in_flight_bytes)
        self._feedback = FeedbackEndpoint(
            self._write_ahead, settings.max_body_bytes, self._metrics, memory, self._access
        )
        self._predict_endpoint = PredictEndpoint(
            self._models,
            self._follower,
            self._shadows,
            PredictionLogWriter(self._write_ahead, settings.prediction_log),
            self._parse_executor,
            settings,
            self._access,
            self._metrics,
            memory,
        )
        self._http_endpoint = HttpPredictEndpoint(self._predict_endpoint, settings.max_body_bytes)

    def asgi(self) -> ASGIApp:
        """Return the application that the server calls: `app`, with a fast path for prediction requests."""
        app = FastPathApp(self.app(), self._http_endpoint)
        return allow_origins(app, self._settings.cors_origins) if self._settings.cors_origins else app

    def app(self) -> Starlette:
        """Return the application with all routes. Its lifespan loads the models and finally compacts the log."""
        paths = [
            *pages.routes(),
            *InformationApi(self._information).routes(),
            *(Route(path.template, self._http_endpoint, methods=["POST"]) for path in routes.PREDICT_PATHS),
            Route("/metrics", self.metrics, methods=["GET"]),
            Route("/feedback", self._feedback.accept, methods=["POST"]),
            *self._admin.routes(),
        ]
        handlers: dict[Any, Any] = {
            RequestError: _request_error,
            HTTPException: _http_error,
            Exception: _internal_error,
        }
        compress = Middleware(GZipMiddleware, minimum_size=compression.MIN_BYTES, compresslevel=1)
        routes_ = doors.guard(paths, self._access, self._settings.without_key)
        app = Starlette(routes=routes_, exception_handlers=handlers, middleware=[compress], lifespan=self._lifespan)
        # A redirect would be built from the Host header, which a client chooses.
        app.router.redirect_slashes = False
        return app

    def stop_loading(self) -> None:
        """Answer requests that wait for a version to be loaded with an error."""
        self._models.stop_loading()

    async def metrics(self, request: Request) -> Response:
        """Return the metrics for Prometheus."""
        content = self._metrics.text(self._weights(), self._predict_endpoint.in_progress)
        return Response(content, headers={"content-type": CONTENT_TYPE.decode()})

    def _weights(self) -> Iterator[tuple[str, int, str, float]]:
        for served in self._models.all():
            route = self._follower.route(served)
            policy = served.policy if route is None else route.policy
            if policy is not None:
                for (version, arm), weight in policy.weights().items():
                    yield served.name, version, arm, weight

    def readiness(self) -> Readiness:
        """Return whether requests can be answered, and why not.

        What does not stop answers yet, such as an MLflow that does not respond, is listed as `degraded`; what could not
        be loaded as `failing`.
        """
        reasons = [*self._champions.waiting_for(), *self._follower.starting()]
        if (problem := self._write_ahead.problem()) is not None:
            reasons.append(f"the prediction log cannot be written: {problem}")
        degraded = [
            text
            for text in (
                *self._champions.stand_ins(),
                self._models.champions.problem(),
                self._follower.problem,
                self._compactor.problem(),
                self._access.keyring.problem,
                self.certificates and self.certificates.problem,
            )
            if text
        ]
        for model, hung, is_exhausted in self._predict_endpoint.hung():
            text = f"{pluralize(hung, 'prediction')} of {model.version} did not return"
            is_active = self._models.get(model.version.name).active == model.version.version
            (reasons if is_exhausted and is_active else degraded).append(text)
        status = "not ready" if reasons else "degraded" if degraded else "ready"
        failing = self._champions.failing(self._follower.wanted())
        return {
            "ready": not reasons,
            "status": status,
            "reasons": reasons,
            "degraded": degraded,
            "failing": failing,
        }

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        tasks = [
            asyncio.create_task(repeat(name, work, seconds))
            for name, work, seconds in (
                ("look up the champions", self._champions.look_up, self._settings.poll_seconds),
                ("follow the champions", self._follow_champions, min(_FOLLOW_SECONDS, self._settings.poll_seconds)),
                ("compact the prediction log", self._compactor.compact_regularly, self._settings.compact_seconds),
                ("follow the rollouts", self._follower.follow, POLL_SECONDS),
                ("ingest the evidence of rollouts", self._follower.ingest_now, POLL_SECONDS),
                ("delete what waits too long in the rollout store", self._follower.age, AGEING_SECONDS),
                ("read the key file", self._access.refresh, REFRESH_SECONDS),
                ("check the shadows", self._check_shadows, _SHADOW_CHECK_SECONDS),
            )
        ]
        if self._is_worker:
            # The other workers serve in the meantime; a worker that listens receives its share of the connections.
            until = asyncio.get_running_loop().time() + _LOAD_SECONDS
            while not (self._has_loaded() or self.is_stopping) and asyncio.get_running_loop().time() < until:
                await asyncio.sleep(_LOAD_CHECK_SECONDS)
            await self._control.catch_up()
            tasks.append(
                asyncio.create_task(
                    repeat("apply the changes of other workers", self._control.catch_up, FOLLOW_SECONDS)
                )
            )
        if self.certificates is not None:
            reading = repeat("read the TLS certificate", self.certificates.refresh, tls.REFRESH_SECONDS)
            tasks.append(asyncio.create_task(reading))
        grpc_server = await self._start_grpc()
        try:
            yield
        finally:
            if grpc_server is not None:
                await grpc_server.stop(DRAIN_SECONDS)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._champions.close()
            self._models.close()
            self._predict_endpoint.close()
            self._parse_executor.shutdown(wait=False, cancel_futures=True)
            self._feedback.close()
            self._shadows.close()
            await self._compactor.compact_at_the_end()
            await self._follower.close()
            self._compactor.close()
            self._write_ahead.close()

    async def _start_grpc(self) -> GrpcServer | None:
        settings = self._settings
        if settings.grpc_port is None:
            return None
        # Imported here, because it comes with an extra of its own.
        from airflow_provider_mlops.serving.gateway.grpc.door import GrpcDoor
        from airflow_provider_mlops.serving.gateway.grpc.server import GrpcServer
        from airflow_provider_mlops.serving.gateway.grpc.servicer import Servicer

        servicer = Servicer(
            self._predict_endpoint,
            self._information,
            self._admin.repository,
            GrpcDoor(self._access, settings),
            self._parse_executor,
        )
        server = GrpcServer(servicer, settings, self.certificates)
        await server.start()
        return server

    def _has_loaded(self) -> bool:
        return self._loaded.is_set() and not self._follower.starting()

    async def _follow_champions(self) -> None:
        await self._champions.follow()
        if not self._loaded.is_set() and self._champions.has_started:
            # Imported modules and loaded models stay: later garbage collections need not scan them.
            gc.collect()
            gc.freeze()
            self._loaded.set()

    async def _check_shadows(self) -> None:
        self._shadows.check(self._follower.is_in_progress)


async def _request_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return error.response()


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path[:200]}: {error.detail}"
    return json_response({"error": message}, error.status_code, dict(error.headers or {}))


async def _internal_error(request: Request, error: Exception) -> Response:
    message = internal_error(log, error, f"{request.method} {request.url.path[:200]!r}")
    return json_response({"error": message}, 500)
