"""The methods of the gRPC service. Predictions go through `PredictEndpoint`, as those over HTTP do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from functools import partial
from typing import Any, NoReturn, TypeAlias

import grpc

from airflow_provider_mlops.serving.gateway.admin import authorization
from airflow_provider_mlops.serving.gateway.admin.repository import ModelRepository
from airflow_provider_mlops.serving.gateway.grpc import status
from airflow_provider_mlops.serving.gateway.http.information import Information
from airflow_provider_mlops.serving.gateway.predict.endpoint import PredictEndpoint
from airflow_provider_mlops.serving.gateway.predict.job import Prediction
from airflow_provider_mlops.serving.protocols.body import Body
from airflow_provider_mlops.serving.protocols.grpc import infer
from airflow_provider_mlops.serving.protocols.grpc import open_inference as messages
from airflow_provider_mlops.serving.protocols.parsed_request import ParsedRequest
from airflow_provider_mlops.serving.protocols.routes import PredictRoute, parse_version
from airflow_provider_mlops.serving.rows.input_schema import InputSchema
from airflow_provider_mlops.serving.rows.request_error import RequestError

_LARGE_BYTES = 32 * 1024
"""Larger requests are decoded in a thread."""

Context: TypeAlias = grpc.aio.ServicerContext
Answer = Callable[[bytes, Context], Awaitable[bytes]]


class Servicer:
    """The service `inference.GRPCInferenceService`. Its methods run on the event loop.

    Parameters
    ----------
    endpoint
        Answers prediction requests.
    information
        Answers questions about the gateway and its models.
    repository
        Loads and unloads models.
    token
        Token that loading and unloading require.
    parse_executor
        Threads that decode large requests.
    """

    def __init__(
        self,
        endpoint: PredictEndpoint,
        information: Information,
        repository: ModelRepository,
        token: str,
        parse_executor: Executor,
    ) -> None:
        self._endpoint = endpoint
        self._information = information
        self._repository = repository
        self._token = token
        self._parse_executor = parse_executor
        # Kept, because asyncio only remembers tasks weakly.
        self._predictions: set[asyncio.Task[Prediction | RequestError]] = set()

    def handlers(self) -> dict[str, grpc.RpcMethodHandler]:
        """Return the handler of each method by name."""
        simple: dict[str, tuple[type[Any], Callable[[Any, Mapping[bytes, bytes]], Any]]] = {
            "ServerLive": (messages.ServerLiveRequest, self._server_live),
            "ServerReady": (messages.ServerReadyRequest, self._server_ready),
            "ModelReady": (messages.ModelReadyRequest, self._model_ready),
            "ServerMetadata": (messages.ServerMetadataRequest, self._server_metadata),
            "ModelMetadata": (messages.ModelMetadataRequest, self._model_metadata),
            "ModelStatistics": (messages.ModelStatisticsRequest, self._statistics),
            "RepositoryIndex": (messages.RepositoryIndexRequest, self._index),
            "RepositoryModelLoad": (messages.RepositoryModelLoadRequest, self._load),
            "RepositoryModelUnload": (messages.RepositoryModelUnloadRequest, self._unload),
        }
        answers: dict[str, Answer] = {
            name: partial(self._answer, request_type, method) for name, (request_type, method) in simple.items()
        }
        answers["ModelInfer"] = self._infer
        return {name: grpc.unary_unary_rpc_method_handler(answer) for name, answer in answers.items()}

    async def _infer(self, content: bytes, context: Context) -> bytes:
        headers = _headers(context)
        left = context.time_remaining()
        deadline = None if left is None else time.perf_counter() + left
        # The prediction goes on if the caller hangs up or its deadline passes, so that it is logged or counted against
        # the version, as over HTTP.
        task = asyncio.create_task(self._predict(content, headers, deadline))
        self._predictions.add(task)
        task.add_done_callback(self._predictions.discard)
        outcome = await asyncio.shield(task)
        if isinstance(outcome, RequestError):
            await _abort(context, outcome)
        described = [("x-model-version", str(outcome.version))]
        if outcome.rows:
            described.append(("x-prediction-id", outcome.id))
        await context.send_initial_metadata(tuple(described))
        return outcome.encoded.content

    async def _predict(
        self, content: bytes, headers: Mapping[bytes, bytes], deadline: float | None
    ) -> Prediction | RequestError:
        try:
            if len(content) <= _LARGE_BYTES:
                message = _decode(messages.ModelInferRequest, content)
            else:
                loop = asyncio.get_running_loop()
                message = await loop.run_in_executor(self._parse_executor, _decode, messages.ModelInferRequest, content)
        except RequestError as error:
            return error

        def parse(body: Body, schema: InputSchema) -> ParsedRequest:
            return infer.parse(message, schema)

        async def receive() -> Body:
            return Body(content)

        route = PredictRoute(parse, message.model_name, message.model_version or None)
        return await self._endpoint.answer(route, headers, receive, deadline)

    async def _answer(
        self,
        request_type: type[Any],
        method: Callable[[Any, Mapping[bytes, bytes]], Any],
        content: bytes,
        context: Context,
    ) -> bytes:
        try:
            answer = method(_decode(request_type, content), _headers(context))
            message = await answer if asyncio.iscoroutine(answer) else answer
        except RequestError as error:
            await _abort(context, error)
        serialized: bytes = message.SerializeToString()
        return serialized

    def _server_live(self, request: Any, headers: Mapping[bytes, bytes]) -> Any:
        return messages.ServerLiveResponse(live=True)

    def _server_ready(self, request: Any, headers: Mapping[bytes, bytes]) -> Any:
        return messages.ServerReadyResponse(ready=self._information.readiness()["ready"])

    def _model_ready(self, request: messages.ModelReadyRequest, headers: Mapping[bytes, bytes]) -> Any:
        try:
            self._information.ready_version(request.name, parse_version(request.version or None))
        except RequestError as error:
            if error.status not in (404, 503):
                raise
            return messages.ModelReadyResponse(ready=False)
        return messages.ModelReadyResponse(ready=True)

    def _server_metadata(self, request: Any, headers: Mapping[bytes, bytes]) -> Any:
        return messages.ServerMetadataResponse(**self._information.server())

    def _model_metadata(self, request: messages.ModelMetadataRequest, headers: Mapping[bytes, bytes]) -> Any:
        model = self._information.model(request.name, parse_version(request.version or None))
        response = messages.ModelMetadataResponse(
            name=model["name"], versions=model["versions"], platform=model["platform"]
        )
        for tensors, described in ((response.inputs, model["inputs"]), (response.outputs, model["outputs"])):
            for tensor in described:
                tensors.add(name=tensor["name"], datatype=tensor["datatype"], shape=tensor["shape"])
        return response

    def _statistics(self, request: messages.ModelStatisticsRequest, headers: Mapping[bytes, bytes]) -> Any:
        entries = self._information.any_statistics(request.name, parse_version(request.version or None))
        response = messages.ModelStatisticsResponse()
        for entry in entries:
            response.model_stats.add(
                name=entry["name"],
                version=entry["version"],
                inference_count=entry["inference_count"],
                inference_stats=messages.InferStatistics(**entry["inference_stats"]),
            )
        return response

    def _index(self, request: messages.RepositoryIndexRequest, headers: Mapping[bytes, bytes]) -> Any:
        entries = self._information.index(request.ready)
        return messages.RepositoryIndexResponse(
            models=[messages.RepositoryIndexResponse.ModelIndex(**entry) for entry in entries]
        )

    async def _load(self, request: messages.RepositoryModelLoadRequest, headers: Mapping[bytes, bytes]) -> Any:
        authorization.require(headers, self._token)
        await self._repository.load(_model_name(request), infer.parameters_of(request.parameters))
        return messages.RepositoryModelLoadResponse()

    async def _unload(self, request: messages.RepositoryModelUnloadRequest, headers: Mapping[bytes, bytes]) -> Any:
        authorization.require(headers, self._token)
        await self._repository.unload(_model_name(request), infer.parameters_of(request.parameters))
        return messages.RepositoryModelUnloadResponse()


def _model_name(request: Any) -> str:
    """Return the name of the model, which KServe's clients send as the first field, Triton's as the second."""
    name: str = request.model_name or request.repository_name
    return name


def _decode(request_type: type[Any], content: bytes) -> Any:
    try:
        return request_type.FromString(content)
    except Exception as error:
        raise RequestError(400, f"The request is not a valid {request_type.__name__}: {error}."[:300]) from None


def _headers(context: Context) -> dict[bytes, bytes]:
    """Return the metadata of a call in the form of HTTP headers."""
    return {
        key.encode("latin-1"): value if isinstance(value, bytes) else value.encode("latin-1", "replace")
        for key, value in context.invocation_metadata() or ()
    }


async def _abort(context: Context, error: RequestError) -> NoReturn:
    await context.abort(status.code(error), status.details(error), status.metadata(error))
    raise AssertionError("abort returned")
