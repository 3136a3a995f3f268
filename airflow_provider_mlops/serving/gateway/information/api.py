"""HTTP paths with information about the gateway and its models, as clients of KServe, Triton and MLflow know them."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from airflow_provider_mlops.serving.gateway.access.access import Caller
from airflow_provider_mlops.serving.gateway.access.doors import CALLER
from airflow_provider_mlops.serving.gateway.information.information import Information
from airflow_provider_mlops.serving.protocols import body, encoding, openapi, routes
from airflow_provider_mlops.serving.rows.request_error import RequestError, format_value, json_response

MAX_BODY_BYTES = 10_000


class InformationApi:
    """The handlers. None of them changes anything.

    Parameters
    ----------
    information
        The answers.
    """

    def __init__(self, information: Information) -> None:
        self._information = information

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/v2", self.server, methods=["GET"]),
            Route("/v2/", self.server, methods=["GET"]),
            Route("/v2/health/live", self.live, methods=["GET"]),
            Route("/v2/health/ready", self.ready, methods=["GET"]),
            Route("/v2/models", self.models, methods=["GET"]),
            Route("/v2/models/stats", self.all_statistics, methods=["GET"]),
            Route("/v2/models/{name}", self.model, methods=["GET"]),
            Route("/v2/models/{name}/ready", self.model_ready, methods=["GET"]),
            Route("/v2/models/{name}/stats", self.statistics, methods=["GET"]),
            Route("/v2/models/{name}/versions/{version}", self.model, methods=["GET"]),
            Route("/v2/models/{name}/versions/{version}/ready", self.model_ready, methods=["GET"]),
            Route("/v2/models/{name}/versions/{version}/stats", self.statistics, methods=["GET"]),
            Route("/v2/repository/index", self.index, methods=["POST"]),
            Route("/ping", self.live, methods=["GET"]),
            Route("/health", self.live, methods=["GET"]),
            Route("/version", self.version, methods=["GET"]),
            Route("/api/2.0/endpoints", self.endpoints, methods=["GET"]),
            Route("/api/2.0/endpoints/", self.endpoints, methods=["GET"]),
            Route("/api/2.0/endpoints/{name}", self.endpoint, methods=["GET"]),
            Route("/openapi.json", self.openapi, methods=["GET"]),
        ]

    async def live(self, request: Request) -> Response:
        """Respond to a liveness check."""
        return json_response({"live": True})

    async def ready(self, request: Request) -> Response:
        """Respond 200 if requests can be answered, else 503 with the reasons.

        The reasons name models, so only those who may know all models receive them.
        """
        readiness = self._information.readiness()
        caller: Caller | None = request.scope.get(CALLER)
        content: object = readiness
        if caller is None or not caller.covers_all:
            content = {"ready": readiness["ready"], "status": readiness["status"]}
        return json_response(content, 200 if readiness["ready"] else 503)

    async def server(self, request: Request) -> Response:
        """Return the name, version and extensions of this server."""
        return json_response(self._information.server())

    async def models(self, request: Request) -> Response:
        """Return the names of the models that answer requests."""
        return json_response({"models": self._information.model_names(_caller(request))})

    async def model(self, request: Request) -> Response:
        """Return the inputs and outputs of a model, and its loaded versions."""
        return json_response(self._information.model(request.path_params["name"], _version(request)))

    async def model_ready(self, request: Request) -> Response:
        """Respond 200 if a model or one of its versions is served, else 404 with the reason."""
        name = request.path_params["name"]
        version = self._information.ready_version(name, _version(request))
        return json_response({"name": name, "version": str(version), "ready": True})

    async def statistics(self, request: Request) -> Response:
        """Return how many requests the loaded versions of a model, or one of them, have answered."""
        statistics = self._information.statistics(request.path_params["name"], _version(request))
        return json_response({"model_stats": statistics})

    async def all_statistics(self, request: Request) -> Response:
        """Return the statistics of all models."""
        caller = _caller(request)
        if "stats" in self._information.model_names(caller):
            # A model that has the name of this path.
            return json_response(self._information.model("stats", None))
        return json_response({"model_stats": self._information.all_statistics(caller)})

    async def index(self, request: Request) -> Response:
        """Return all versions and their states; with `{"ready": true}`, only those that are ready."""
        received = await body.receive_json(dict(request.scope["headers"]), request.receive, MAX_BODY_BYTES)
        content: Any = encoding.decode(received) if received.strip() else {}
        ready = content.get("ready", False) if type(content) is dict else None
        if type(ready) is not bool:
            raise RequestError(
                400, f'The body must be {{"ready": true or false}}, not {format_value(content)}.', "ready"
            )
        return json_response(self._information.index(_caller(request), ready))

    async def version(self, request: Request) -> Response:
        """Return the version of MLflow that loads the models, as MLflow's own server does."""
        import mlflow

        return Response(mlflow.__version__, media_type="text/plain")

    async def endpoints(self, request: Request) -> Response:
        """Return the models in the form of MLflow's deployments client."""
        return json_response(
            {"endpoints": [_endpoint(name) for name in self._information.model_names(_caller(request))]}
        )

    async def endpoint(self, request: Request) -> Response:
        """Return one model in the form of MLflow's deployments client."""
        name = request.path_params["name"]
        self._information.ready_version(name, None)
        return json_response(_endpoint(name))

    async def openapi(self, request: Request) -> Response:
        """Return the OpenAPI document of this API."""
        return json_response(openapi.document(self._information.server()["version"]))


def _caller(request: Request) -> Caller:
    caller: Caller = request.scope[CALLER]
    return caller


def _endpoint(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "endpoint_type": "mlflow/scoring",
        "model": {"name": name, "provider": "mlflow-model-serving"},
        "endpoint_url": f"/endpoints/{quote(name, safe='')}/invocations",
        "limit": None,
    }


def _version(request: Request) -> int | None:
    return routes.parse_version(request.path_params.get("version"))
