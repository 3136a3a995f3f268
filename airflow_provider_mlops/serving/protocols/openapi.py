"""The gateway's API as an OpenAPI document, for clients, for people, and for tests that make requests from it."""

from __future__ import annotations

from typing import Any

from airflow_provider_mlops.serving.protocols import openapi_schemas
from airflow_provider_mlops.serving.protocols.headers import VERIFICATION_HEADER

_JSON = "application/json"
_BINARY = "application/octet-stream"
_LENGTH = "Inference-Header-Content-Length"


def document(version: str) -> dict[str, Any]:
    """The document, of OpenAPI 3.1."""
    infer = _with_binary(_prediction("Predict (Open Inference Protocol)", "InferRequest", "InferResponse"))
    invoke = _prediction("Predict (MLflow)", "Invocation", "Predictions")
    change = ("ModelStatus", 401, 404, 408, 413, 415, 422, 503)
    metadata = _get("What a model takes and gives", "ModelMetadata", 404)
    model_ready = _get("Whether a model answers", "ModelReady", 404)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Gateway of airflow-provider-mlops", "version": version},
        "paths": {
            "/v2": _get("What this server is", "ServerMetadata"),
            "/v2/health/live": _get("Whether the process answers", "Live"),
            "/v2/health/ready": _get("Whether the models are loaded", "Ready", 503),
            "/v2/models/{name}": _at(metadata, "name"),
            "/v2/models/{name}/ready": _at(model_ready, "name"),
            "/v2/models/{name}/infer": _at(infer, "name"),
            "/v2/models/{name}/versions/{version}": _at(metadata, "name", "version"),
            "/v2/models/{name}/versions/{version}/ready": _at(model_ready, "name", "version"),
            "/v2/models/{name}/versions/{version}/infer": _at(infer, "name", "version"),
            "/invocations": invoke,
            "/models/{name}/invocations": _at(invoke, "name"),
            "/endpoints/{name}/invocations": _at(invoke, "name"),
            "/metrics": {"get": {"summary": "Numbers for Prometheus", "responses": _TEXT_RESPONSE}},
            "/ping": _get("Whether the process answers, as MLflow's server says it", "Live"),
            "/feedback": _post("Give labels to predictions", "Feedback", "Accepted", 408, 413, 415, 422, 503),
            "/openapi.json": _get("This document", "Document"),
            "/admin/models": _guarded(_get("The state of all models", "AllModels", 401)),
            "/admin/models/{name}": _guarded(_at(_get("The state of a model", "ModelStatus", 401, 404), "name")),
            "/admin/models/{name}/load": _guarded(
                _at(_post("Load a version beside the others", "VersionNumber", *change), "name")
            ),
            "/admin/models/{name}/activate": _guarded(
                _at(_post("Let a version answer", "Activation", *change), "name")
            ),
            "/admin/models/{name}/deactivate": _guarded(
                _at(_post("Let a version that was withdrawn answer no longer", "VersionNumber", *change), "name")
            ),
            "/admin/compact": _guarded(
                {"post": {"summary": "Compact the prediction log", "responses": _responses("Compacted", 401, 503)}}
            ),
        },
        "components": {
            "schemas": openapi_schemas.schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _get(summary: str, answer: str, *errors: int) -> dict[str, Any]:
    return {"get": {"summary": summary, "responses": _responses(answer, *errors)}}


def _post(summary: str, body: str, answer: str, *errors: int) -> dict[str, Any]:
    return {
        "post": {
            "summary": summary,
            "requestBody": {"required": True, "content": {_JSON: {"schema": openapi_schemas.ref(body)}}},
            "responses": _responses(answer, 400, *errors),
        }
    }


def _at(path: dict[str, Any], *parameters: str) -> dict[str, Any]:
    return {
        **path,
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
            for name in parameters
        ],
    }


def _prediction(summary: str, body: str, answer: str) -> dict[str, Any]:
    """A prediction, which may be marked as a check of the gateway by who has the token."""
    post = _post(summary, body, answer, 401, 404, 408, 413, 415, 422, 429, 500, 503)["post"]
    mark = {
        "name": VERIFICATION_HEADER,
        "in": "header",
        "description": "Whether this is a check and no traffic. `true` needs the token.",
        "schema": {"enum": ["false", "true"], "default": "false"},
    }
    post["responses"]["200"]["headers"] = {
        "X-Prediction-Id": _header("Under which the prediction was logged", openapi_schemas.TEXT),
        "X-Model-Version": _header("Which version has answered", openapi_schemas.WHOLE),
    }
    return {"post": {**post, "parameters": [mark], "security": [{}, {"token": []}]}}


def _with_binary(path: dict[str, Any]) -> dict[str, Any]:
    """The extension for binary tensors: after the JSON, in the request and, where asked for, in the answer."""
    post = path["post"]
    length = {
        "name": _LENGTH,
        "in": "header",
        "description": "How many bytes of the body are JSON, where binary tensors follow it",
        "schema": openapi_schemas.COUNT,
    }
    post["parameters"] = [*post["parameters"], length]
    post["requestBody"]["content"][_BINARY] = {}
    post["responses"]["200"]["content"][_BINARY] = {}
    post["responses"]["200"]["headers"][_LENGTH] = _header(
        "How many bytes of a binary answer are JSON", openapi_schemas.COUNT
    )
    return path


def _guarded(path: dict[str, Any]) -> dict[str, Any]:
    return {
        key: {**value, "security": [{"token": []}]} if key in ("get", "post") else value for key, value in path.items()
    }


def _responses(answer: str, *errors: int) -> dict[str, Any]:
    responses: dict[str, Any] = {
        "200": {"description": "OK", "content": {_JSON: {"schema": openapi_schemas.ref(answer)}}}
    }
    for status in errors:
        # What is not ready answers 503 in the form of what is.
        unready = answer == "Ready" and status == 503
        response: dict[str, Any] = {
            "description": _MEANINGS[status],
            "content": {_JSON: {"schema": openapi_schemas.ref(answer if unready else "Error")}},
        }
        if status in (429, 503) and not unready:
            response["headers"] = {"Retry-After": _header("After how many seconds to try again", openapi_schemas.COUNT)}
        responses[str(status)] = response
    return responses


def _header(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "schema": schema}


_MEANINGS = {
    400: "The body is not what the protocol asks for",
    401: "The token is missing or wrong",
    404: "There is no such model or version, or none that answers",
    408: "The body came too slowly",
    413: "The body is too large",
    415: "The body is not JSON, or is compressed",
    422: "The values do not fit, or the version cannot be served",
    429: "More requests are under way than are taken: try again after the seconds in Retry-After",
    500: "The model failed on rows that fit its signature",
    503: "Not now: try again later",
}


_TEXT_RESPONSE = {"200": {"description": "OK", "content": {"text/plain": {"schema": {"type": "string"}}}}}
