"""The OpenAPI document of the gateway's HTTP API."""

from __future__ import annotations

from typing import Any

from airflow_provider_mlops.serving.protocols import openapi_schemas, protocol_v2
from airflow_provider_mlops.serving.protocols.headers import JSON_LENGTH_HEADER, VERIFICATION_HEADER
from airflow_provider_mlops.serving.protocols.routes import PREDICT_PATHS

_PAGES = ("/", "/docs")
_JSON = "application/json"
_BINARY = "application/octet-stream"
_CSV = "text/csv"


def document(version: str) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of the API.

    Examples
    --------
    >>> "/invocations" in document("1.0")["paths"]
    True
    """
    infer = _with_binary(_prediction("Predict (Open Inference Protocol)", "InferRequest", "InferResponse"))
    invoke = _with_csv(_prediction("Predict (MLflow)", "Invocation", "Predictions"))
    change = ("ModelStatus", 404, 408, 413, 415, 422, 503)
    metadata = _get("Get the inputs and outputs of a model", "ModelMetadata", 404)
    model_ready = _get("Check whether a model is ready", "ModelReady", 404)
    statistics = _get("Get how many requests each version has answered", "ModelStatistics", 404)
    repository = ("ModelStatus", 404, 408, 409, 413, 415, 422, 503)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Gateway of airflow-provider-mlops", "version": version},
        "paths": _with_doors(
            {
                "/v2": _get("Get the server's metadata", "ServerMetadata"),
                "/v2/": _get("Get the server's metadata", "ServerMetadata"),
                "/v2/health/live": _get("Check whether the server is live", "Live"),
                "/v2/health/ready": _get("Check whether predictions can be answered", "Ready", 503),
                "/v2/models": _get("Get the names of the models that answer requests", "ModelNames"),
                "/v2/models/stats": _get("Get the statistics of all models", "ModelStatistics"),
                "/v2/models/{name}": _at(metadata, "name"),
                "/v2/models/{name}/stats": _at(statistics, "name"),
                "/v2/models/{name}/versions/{version}/stats": _at(statistics, "name", "version"),
                "/v2/repository/index": _optional(
                    _post("Get all versions and their states", "IndexRequest", "RepositoryIndex", 408, 413, 415)
                ),
                "/v2/repository/models/{name}/load": _optional(
                    _at(_post("Serve the champion, or load a version", "RepositoryChange", *repository), "name")
                ),
                "/v2/repository/models/{name}/unload": _optional(
                    _at(_post("Stop serving a model", "RepositoryChange", *repository), "name")
                ),
                "/v2/models/{name}/ready": _at(model_ready, "name"),
                "/v2/models/{name}/versions/{version}": _at(metadata, "name", "version"),
                "/v2/models/{name}/versions/{version}/ready": _at(model_ready, "name", "version"),
                **{
                    path.template: _at(infer if path.parse is protocol_v2.parse else invoke, *path.parameters)
                    for path in PREDICT_PATHS
                },
                "/metrics": {"get": {"summary": "Get metrics for Prometheus", "responses": _TEXT_RESPONSE}},
                "/ping": _get("Check whether the server is live (MLflow)", "Live"),
                "/health": _get("Check whether the server is live (MLflow)", "Live"),
                "/version": {"get": {"summary": "Get the version of MLflow", "responses": _TEXT_RESPONSE}},
                "/api/2.0/endpoints": _get("Get the models as MLflow's deployments client lists them", "Endpoints"),
                "/api/2.0/endpoints/": _get("Get the models as MLflow's deployments client lists them", "Endpoints"),
                "/api/2.0/endpoints/{name}": _at(
                    _get("Get a model as MLflow's deployments client shows it", "Endpoint", 404), "name"
                ),
                "/": {"get": {"summary": "Open the gateway's page", "responses": _PAGE_RESPONSE}},
                "/docs": {"get": {"summary": "Open a page with this description", "responses": _PAGE_RESPONSE}},
                "/feedback": _post(
                    "Send labels or rewards for predictions", "Feedback", "Accepted", 408, 413, 415, 422, 429, 503
                ),
                "/openapi.json": _get("Get this document", "Document"),
                "/admin/models": _get("Get the state of all models", "AllModels"),
                "/admin/models/{name}": _at(_get("Get the state of a model", "ModelStatus", 404), "name"),
                "/admin/models/{name}/load": _at(
                    _post("Load a version without activating it", "VersionNumber", *change), "name"
                ),
                "/admin/models/{name}/activate": _at(_post("Activate a version", "Activation", *change), "name"),
                "/admin/models/{name}/deactivate": _at(
                    _post("Deactivate a version whose promotion was withdrawn", "VersionNumber", *change), "name"
                ),
                "/admin/compact": {
                    "post": {"summary": "Compact the prediction log", "responses": _responses("Compacted", 503)}
                },
            }
        ),
        "components": {
            "schemas": openapi_schemas.schemas(),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _get(summary: str, schema: str, *errors: int) -> dict[str, Any]:
    return {"get": {"summary": summary, "responses": _responses(schema, *errors)}}


def _post(summary: str, body: str, schema: str, *errors: int) -> dict[str, Any]:
    return {
        "post": {
            "summary": summary,
            "requestBody": {"required": True, "content": {_JSON: {"schema": openapi_schemas.ref(body)}}},
            "responses": _responses(schema, 400, *errors),
        }
    }


def _at(path: dict[str, Any], *parameters: str) -> dict[str, Any]:
    if not parameters:
        return path
    return {
        **path,
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
            for name in parameters
        ],
    }


def _prediction(summary: str, body: str, schema: str) -> dict[str, Any]:
    """Describe a prediction request, which an administrator may mark as a check of the gateway."""
    post = _post(summary, body, schema, 404, 408, 413, 415, 422, 429, 500, 503)["post"]
    mark = {
        "name": VERIFICATION_HEADER,
        "in": "header",
        "description": "Whether the request checks the gateway and is not user traffic; this requires administration.",
        "schema": {"enum": ["false", "true"], "default": "false"},
    }
    post["responses"]["200"]["headers"] = {
        "X-Prediction-Id": _header("ID under which the prediction was logged", openapi_schemas.TEXT),
        "X-Model-Version": _header("Version that made the prediction", openapi_schemas.WHOLE),
    }
    return {"post": {**post, "parameters": [mark]}}


def _with_binary(path: dict[str, Any]) -> dict[str, Any]:
    """Add the binary tensor extension: tensors after the JSON, in the request and, if requested, in the response."""
    post = path["post"]
    length = {
        "name": JSON_LENGTH_HEADER,
        "in": "header",
        "description": "Number of bytes of JSON at the start of the body, if binary tensors follow",
        "schema": openapi_schemas.COUNT,
    }
    post["parameters"] = [*post["parameters"], length]
    post["requestBody"]["content"][_BINARY] = {}
    post["responses"]["200"]["content"][_BINARY] = {}
    post["responses"]["200"]["headers"][JSON_LENGTH_HEADER] = _header(
        "Number of bytes of JSON at the start of a binary response", openapi_schemas.COUNT
    )
    return path


def _with_csv(path: dict[str, Any]) -> dict[str, Any]:
    """Add CSV, which has a header with the names of the columns."""
    path["post"]["requestBody"]["content"][_CSV] = {"schema": {"type": "string"}}
    return path


def _optional(path: dict[str, Any]) -> dict[str, Any]:
    """Say that the body may be omitted."""
    return {**path, "post": {**path["post"], "requestBody": {**path["post"]["requestBody"], "required": False}}}


def _with_doors(paths: dict[str, Any]) -> dict[str, Any]:
    """Add what a request without the right key gets. Only administration always needs a key."""
    for path, operations in paths.items():
        if path in _PAGES:
            continue
        is_administration = path.startswith(("/admin", "/v2/repository/models"))
        refusals = _responses("Error", 401, 403, 429)
        del refusals["200"]
        for method in operations.keys() & {"get", "post"}:
            operation = operations[method]
            operation["security"] = [{"key": []}] if is_administration else [{}, {"key": []}]
            operation["responses"] = dict(sorted({**operation["responses"], **refusals}.items()))
    return paths


def _responses(schema: str, *errors: int) -> dict[str, Any]:
    responses: dict[str, Any] = {
        "200": {"description": "OK", "content": {_JSON: {"schema": openapi_schemas.ref(schema)}}}
    }
    for status in errors:
        # A server that is not ready returns 503 with the schema of a ready one.
        unready = schema == "Ready" and status == 503
        response: dict[str, Any] = {
            "description": _MEANINGS[status],
            "content": {_JSON: {"schema": openapi_schemas.ref(schema if unready else "Error")}},
        }
        if status in (429, 503) and not unready:
            response["headers"] = {"Retry-After": _header("Seconds to wait before a retry", openapi_schemas.COUNT)}
        responses[str(status)] = response
    return responses


def _header(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "schema": schema}


_MEANINGS = {
    400: "The body does not follow the protocol",
    401: "The key is missing or not valid",
    403: "The key does not have the right",
    404: "The model or version does not exist or is not being served",
    408: "The body arrived too slowly",
    413: "The body is too large",
    409: "MLflow's alias says something else",
    415: "The format of the body, or its compression, is not supported",
    422: "The values do not match the model's signature, or the version cannot be served",
    429: "Too many requests are in progress, or from this client; retry after the seconds in Retry-After",
    500: "The model failed on rows that match its signature",
    503: "The request cannot be handled now; retry later",
}


_TEXT_RESPONSE = {"200": {"description": "OK", "content": {"text/plain": {"schema": {"type": "string"}}}}}
_PAGE_RESPONSE = {"200": {"description": "OK", "content": {"text/html": {"schema": {"type": "string"}}}}}
