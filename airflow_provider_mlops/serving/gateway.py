"""The gateway: one ASGI application that answers predictions, logs them, takes labels, and can be administered."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version as installed_version
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.serving import (
    body,
    compaction,
    feedback,
    log_layout,
    openapi,
    predictor,
    protocol_v2,
    routes,
    token,
    verification,
)
from airflow_provider_mlops.serving.admin import Admin
from airflow_provider_mlops.serving.predictor import Work
from airflow_provider_mlops.serving.refusal import Refusal, json_response
from airflow_provider_mlops.serving.served_model import ServedModel
from airflow_provider_mlops.serving.served_models import ServedModels
from airflow_provider_mlops.serving.settings import Settings
from airflow_provider_mlops.serving.write_ahead import WriteAhead

log = logging.getLogger(__name__)

SERVER = "airflow-provider-mlops"


class Gateway:
    """The state and the handlers of one gateway process."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._settings = settings
        self._models = ServedModels(registry, settings.models, allow_pickle=settings.allow_pickle)
        self._predictors = ThreadPoolExecutor(settings.threads, thread_name_prefix="predict")
        self._log_writer = ThreadPoolExecutor(1, thread_name_prefix="log")
        # One thread: a compaction that was given up by who waited for it still ends before the next one begins.
        self._compactor = ThreadPoolExecutor(1, thread_name_prefix="compact")
        self._write_ahead = WriteAhead(log_layout.write_ahead_root(settings.storage_uri))
        self._token = settings.token or token.find_or_make(settings.storage_uri)

    def app(self) -> Starlette:
        """The ASGI application. Its lifespan loads the models and, at the end, compacts the log."""
        admin = Admin(self._models, self._token, self.compact)
        paths = [
            Route("/v2", self.server_metadata, methods=["GET"]),
            Route("/v2/health/live", self.live, methods=["GET"]),
            Route("/v2/health/ready", self.ready, methods=["GET"]),
            Route("/v2/models/{name}", self.model_metadata, methods=["GET"]),
            Route("/v2/models/{name}/ready", self.model_ready, methods=["GET"]),
            Route("/v2/models/{name}/infer", self.infer, methods=["POST"]),
            Route("/v2/models/{name}/versions/{version}", self.model_metadata, methods=["GET"]),
            Route("/v2/models/{name}/versions/{version}/ready", self.model_ready, methods=["GET"]),
            Route("/v2/models/{name}/versions/{version}/infer", self.infer, methods=["POST"]),
            Route("/invocations", self.invoke, methods=["POST"]),
            Route("/models/{name}/invocations", self.invoke, methods=["POST"]),
            Route("/ping", self.live, methods=["GET"]),
            Route("/feedback", self.feedback, methods=["POST"]),
            Route("/openapi.json", self.openapi, methods=["GET"]),
            *admin.routes(),
        ]
        handlers: dict[Any, Any] = {Refusal: _refused, HTTPException: _http_error, Exception: _defect}
        return Starlette(routes=paths, exception_handlers=handlers, lifespan=self._lifespan)

    async def compact(self) -> int:
        """Compact all that was logged up to now. Returns the number of segments; raises what the storage raises."""
        return await asyncio.get_running_loop().run_in_executor(self._compactor, self._rotate_and_compact)

    def _rotate_and_compact(self) -> int:
        self._write_ahead.rotate()
        return compaction.compact(self._settings.storage_uri, self._write_ahead)

    async def infer(self, request: Request) -> Response:
        """Answer an infer request of the Open Inference Protocol."""
        return await self._answer(request, self._models.get(request.path_params["name"]), predictor.infer)

    async def invoke(self, request: Request) -> Response:
        """Answer a request of MLflow's protocol; without a name in the path it goes to the only model."""
        name = request.path_params.get("name")
        return await self._answer(
            request, self._models.only() if name is None else self._models.get(name), predictor.invoke
        )

    async def feedback(self, request: Request) -> Response:
        """Take labels. They are in the write-ahead log before the answer goes out."""
        raw = await body.read(request, self._settings.maximum_body_bytes)
        labels = feedback.parse(body.parse(raw))
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._log_writer, self._write_ahead.feedback, labels)
        except OSError as error:
            raise Refusal(503, f"the label cannot be logged: {error}", Retry_After="5") from error
        return json_response({"accepted": len(labels)})

    async def live(self, request: Request) -> Response:
        """Whether the process answers."""
        return json_response({"live": True})

    async def ready(self, request: Request) -> Response:
        """Whether the models are loaded: 200, or 503 with the reasons."""
        reasons = self._models.waiting_for()
        return json_response({"ready": not reasons, "reasons": reasons}, 503 if reasons else 200)

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
        return json_response({"name": SERVER, "version": installed_version(SERVER), "extensions": []})

    async def openapi(self, request: Request) -> Response:
        """This API as an OpenAPI document."""
        return json_response(openapi.document(installed_version(SERVER)))

    async def _answer(self, request: Request, served: ServedModel, work: Work) -> Response:
        is_check = verification.is_verification(request, self._token)
        raw = await body.read(request, self._settings.maximum_body_bytes)
        received = time.perf_counter()
        choice, model = served.choose(_version(request))
        if is_check:
            choice = routes.verification(choice)
        loop = asyncio.get_running_loop()
        job = loop.run_in_executor(self._predictors, work, raw, received, choice, model, self._write_ahead)
        try:
            prediction = await asyncio.wait_for(job, self._settings.predict_seconds)
        except TimeoutError:
            seconds = self._settings.predict_seconds
            raise Refusal(503, f"no prediction within {seconds:.0f} seconds", Retry_After="5") from None
        headers = {"X-Prediction-Id": prediction.id, "X-Model-Version": str(prediction.version)}
        return Response(prediction.content, 200, headers, media_type="application/json")

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        tasks = [
            asyncio.create_task(self._follow_champions()),
            asyncio.create_task(self._compact_now_and_then()),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._models.close()
            self._predictors.shutdown(wait=False, cancel_futures=True)
            self._log_writer.shutdown()
            try:
                await self.compact()
            except Exception as error:
                log.warning("The prediction log stays uncompacted until a gateway starts again: %s", error)
            self._compactor.shutdown()
            self._write_ahead.close()

    async def _follow_champions(self) -> None:
        while True:
            await self._models.poll()
            await asyncio.sleep(self._settings.poll_seconds)

    async def _compact_now_and_then(self) -> None:
        while True:
            try:
                await self.compact()
            except Exception as error:
                log.error("The prediction log is not compacted; it stays in the write-ahead log: %s", error)
            await asyncio.sleep(self._settings.compact_seconds)


def _version(request: Request) -> int | None:
    text = request.path_params.get("version")
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise Refusal(404, f"there is no version {text[:100]!r}: versions are numbers", "version")
    return int(text)


async def _refused(request: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)
    return refusal.response()


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path[:200]}: {error.detail}"
    return json_response({"error": message}, error.status_code, dict(error.headers or {}))


async def _defect(request: Request, error: Exception) -> Response:
    return json_response({"error": f"a defect of the gateway: {type(error).__name__}"}, 500)
