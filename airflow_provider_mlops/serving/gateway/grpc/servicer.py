"""The methods of the gRPC service. Predictions go through `PredictEndpoint`, as those over HTTP do."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from functools import partial
from typing import Any, NoReturn

import grpc

from airflow_provider_mlops.serving.gateway.access.access import Caller
from airflow_provider_mlops.serving.gateway.admin.repository import ModelRepository
from airflow_provider_mlops.serving.gateway.grpc import status
from airflow_provider_mlops.serving.gateway.grpc.door import Context, GrpcDoor, address, pairs
from airflow_provider_mlops.serving.gateway.information.information import Information
from airflow_provider_mlops.serving.gateway.predict.endpoint import PredictEndpoint
from airflow_provider_mlops.serving.gateway.predict.incoming_request import IncomingRequest
from airflow_provider_mlops.serving.gateway.predict.job import Prediction
from airflow_provider_mlops.serving.protocols.body import Body
from airflow_provider_mlops.serving.protocols.grpc import infer
from airflow_provider_mlops.serving.protocols.grpc import open_inference as messages
from airflow_provider_mlops.serving.protocols.parsed_request import ParsedRequest
from airflow_provider_mlops.serving.protocols.routes import PredictRoute, parse_version
from airflow_provider_mlops.serving.rows.input_schema import InputSchema
from airflow_provider_mlops.serving.rows.request_error import RequestError, internal_error

log = logging.getLogger(__name__)

_LARGE_BYTES = 32 * 1024
"""Larger requests are decoded in a thread."""

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
    door
        Lets calls in.
    parse_executor
        Threads that decode large requests.
    """

    def __init__(
        self,
        endpoint: PredictEndpoint,
        information: Information,
        repository: ModelRepository,
        door: GrpcDoor,
        parse_executor: Executor,
    ) -> None:
        self._endpoint = endpoint
        self._information = information
        self._repository = repository
        self._door = door
        self._parse_executor = parse_executor
        # Kept, because asyncio only remembers tasks weakly.
        self._predictions: set[asyncio.Task[Prediction | RequestError]] = set()

    def handlers(self) -> dict[str, grpc.RpcMethodHandler]:
        """Return the handler of each method by name."""
        simple: dict[str, tuple[type[Any], Callable[[Any, Caller], Any]]] = {
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
            name: partial(self._answer, name, request_type, method) for name, (request_type, method) in simple.items()
        }
        answers["ModelInfer"] = self._infer
        return {name: grpc.unary_unary_rpc_method_handler(answer) for name, answer in answers.items()}

    async def _infer(self, content: bytes, context: Context) -> bytes:
        left = context.time_remaining()
        deadline = None if left is None else time.perf_counter() + left
        # The prediction goes on if the caller hangs up or its deadline passes, so that it is logged or counted against
        # the version, as over HTTP.
        task = asyncio.create_task(self._predict(content, pairs(context), address(context), deadline))
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
        self, content: bytes, metadata: list[tuple[bytes, bytes]], client: str | None, deadline: float | None
    ) -> Prediction | RequestError:
        reservation = self._endpoint.reservation()
        try:
            reservation.grow(len(content))
            message = await self._decoded(content)

            def parse(body: Body, schema: InputSchema) -> ParsedRequest:
                return infer.parse(message, schema)

            async def receive() -> Body:
                return Body(content)

            route = PredictRoute(parse, message.model_name, message.model_version or None)
            return await self._endpoint.answer(
                IncomingRequest(route, metadata, dict(metadata), client, receive, reservation, deadline)
            )
        except RequestError as error:
            return error
        finally:
            reservation.release()

    async def _decoded(self, content: bytes) -> messages.ModelInferRequest:
        """Return the message of a prediction request, which is decoded in a thread if it is large."""
        decode = partial(_decode, messages.ModelInferRequest, content)
        message: messages.ModelInferRequest
        if len(content) <= _LARGE_BYTES:
            message = decode()
        else:
            message = await asyncio.get_running_loop().run_in_executor(self._parse_executor, decode)
        return message

    async def _answer(
        self,
        name: str,
        request_type: type[Any],
        method: Callable[[Any, Caller], Any],
        content: bytes,
        context: Context,
    ) -> bytes:
        try:
            request = _decode(request_type, content)
            caller = self._door.authorize(name, _model_name(request), context)
            answer = method(request, caller)
            message = await answer if asyncio.iscoroutine(answer) else answer
        except RequestError as error:
            await _abort(context, error)
        except Exception as error:
            # The text of the exception stays in the log.
            await _abort(context, RequestError(500, internal_error(log, error, f"the call {name}")))
        serialized: bytes = message.SerializeToString()
        return serialized

    def _server_live(self, request: Any, caller: Caller) -> Any:
        return messages.ServerLiveResponse(live=True)

    def _server_ready(self, request: Any, caller: Caller) -> Any:
        return messages.ServerReadyResponse(ready=self._information.readiness()["ready"])

    def _model_ready(self, request: messages.ModelReadyRequest, caller: Caller) -> Any:
        try:
            self._information.ready_version(request.name, parse_version(request.version or None))
        except RequestError as error:
            if error.status not in (404, 503):
                raise
            return messages.ModelReadyResponse(ready=False)
        return messages.ModelReadyResponse(ready=True)

    def _server_metadata(self, request: Any, caller: Caller) -> Any:
        return messages.ServerMetadataResponse(**self._information.server())

    def _model_metadata(self, request: messages.ModelMetadataRequest, caller: Caller) -> Any:
        model = self._information.model(request.name, parse_version(request.version or None))
        response = messages.ModelMetadataResponse(
            name=model["name"], versions=model["versions"], platform=model["platform"]
        )
        for tensors, described in ((response.inputs, model["inputs"]), (response.outputs, model["outputs"])):
            for tensor in described:
                tensors.add(name=tensor["name"], datatype=tensor["datatype"], shape=tensor["shape"])
        return response

    def _statistics(self, request: messages.ModelStatisticsRequest, caller: Caller) -> Any:
        if request.name:
            entries = self._information.statistics(request.name, parse_version(request.version or None))
        else:
            entries = self._information.all_statistics(caller)
        response = messages.ModelStatisticsResponse()
        for entry in entries:
            response.model_stats.add(
                name=entry["name"],
                version=entry["version"],
                inference_count=entry["inference_count"],
                inference_stats=messages.InferStatistics(**entry["inference_stats"]),
            )
        return response

    def _index(self, request: messages.RepositoryIndexRequest, caller: Caller) -> Any:
        entries = self._information.index(caller, request.ready)
        return messages.RepositoryIndexResponse(
            models=[messages.RepositoryIndexResponse.ModelIndex(**entry) for entry in entries]
        )

    async def _load(self, request: messages.RepositoryModelLoadRequest, caller: Caller) -> Any:
        await self._repository.load(_model_name(request), infer.parameters_of(request.parameters))
        return messages.RepositoryModelLoadResponse()

    async def _unload(self, request: messages.RepositoryModelUnloadRequest, caller: Caller) -> Any:
        await self._repository.unload(_model_name(request), infer.parameters_of(request.parameters))
        return messages.RepositoryModelUnloadResponse()


def _model_name(request: Any) -> str:
    """Return the model that a request names; empty if it names none.

    To load a model, KServe's clients send its name as the first field, Triton's as the second.
    """
    name: str = getattr(request, "name", "") or getattr(request, "model_name", "")
    return name or ("" if hasattr(request, "ready") else getattr(request, "repository_name", ""))


def _decode(request_type: type[Any], content: bytes) -> Any:
    try:
        return request_type.FromString(content)
    except Exception as error:
        raise RequestError(400, f"The request is not a valid {request_type.__name__}: {error}."[:300]) from None


async def _abort(context: Context, error: RequestError) -> NoReturn:
    await context.abort(status.code(error), status.details(error), status.metadata(error))
    raise AssertionError("abort returned")
