"""The gateway's API as an OpenAPI document, for clients, for people, and for tests that make requests from it."""

from __future__ import annotations

from typing import Any

from airflow_provider_mlops.serving.client import VERIFICATION_HEADER
from airflow_provider_mlops.serving.log import prediction_id

_JSON = "application/json"


def document(version: str) -> dict[str, Any]:
    """The document, of OpenAPI 3.1."""
    errors = (401, 404, 408, 413, 415, 422, 429, 503)
    infer = _markable(_post("Predict (Open Inference Protocol)", "InferRequest", "InferResponse", *errors))
    invoke = _markable(_post("Predict (MLflow)", "Invocation", "Predictions", *errors))
    change = ("VersionNumber", "ModelStatus", 401, 404, 408, 413, 415, 422, 503)
    metadata = _get("What a model takes and gives", "ModelMetadata", 404)
    model_ready = _get("Whether a model answers", "Ready", 404)
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
            "/admin/models/{name}/load": _guarded(_at(_post("Load a version beside the others", *change), "name")),
            "/admin/models/{name}/activate": _guarded(
                _at(_post("Let a version answer", "Activation", *change[1:]), "name")
            ),
            "/admin/models/{name}/deactivate": _guarded(
                _at(_post("Let a version that was withdrawn answer no longer", *change), "name")
            ),
            "/admin/compact": _guarded(
                {"post": {"summary": "Compact the prediction log", "responses": _responses("Compacted", 401, 503)}}
            ),
        },
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _get(summary: str, answer: str, *errors: int) -> dict[str, Any]:
    return {"get": {"summary": summary, "responses": _responses(answer, *errors)}}


def _post(summary: str, body: str, answer: str, *errors: int) -> dict[str, Any]:
    return {
        "post": {
            "summary": summary,
            "requestBody": {"required": True, "content": {_JSON: {"schema": _ref(body)}}},
            "responses": _responses(answer, 400, *errors),
        }
    }


def _at(path: dict[str, Any], *parameters: str) -> dict[str, Any]:
    return {
        **path,
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in parameters
        ],
    }


def _markable(path: dict[str, Any]) -> dict[str, Any]:
    """A prediction, which may be marked as a check of the gateway by who has the token."""
    mark = {
        "name": VERIFICATION_HEADER,
        "in": "header",
        "description": "Whether this is a check and no traffic. `true` needs the token.",
        "schema": {"enum": ["false", "true"], "default": "false"},
    }
    return {"post": {**path["post"], "parameters": [mark], "security": [{}, {"token": []}]}}


def _guarded(path: dict[str, Any]) -> dict[str, Any]:
    return {
        key: {**value, "security": [{"token": []}]} if key in ("get", "post") else value for key, value in path.items()
    }


def _responses(answer: str, *errors: int) -> dict[str, Any]:
    responses = {"200": {"description": "OK", "content": {_JSON: {"schema": _ref(answer)}}}}
    for status in errors:
        # What is not ready answers 503 in the form of what is.
        schema = _ref(answer) if answer == "Ready" and status == 503 else _ref("Error")
        responses[str(status)] = {"description": _MEANINGS[status], "content": {_JSON: {"schema": schema}}}
    return responses


_MEANINGS = {
    400: "The body is not what the protocol asks for",
    401: "The token is missing or wrong",
    404: "There is no such model or version, or none that answers",
    408: "The body came too slowly",
    413: "The body is too large",
    415: "The body is not JSON",
    422: "The values do not fit, or the version cannot be served",
    429: "More requests are under way than are taken: try again after the seconds in Retry-After",
    503: "Not now: try again later",
}


_TEXT_RESPONSE = {"200": {"description": "OK", "content": {"text/plain": {"schema": {"type": "string"}}}}}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": properties}


def _list(items: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": items, **more}


_TEXT = {"type": "string"}
_WHOLE = {"type": "integer"}
_FLAG = {"type": "boolean"}
_VALUE = {"type": ["number", "string", "boolean", "null"]}
_ROW = _list(_VALUE)
_RECORD = {"type": "object", "additionalProperties": _VALUE}


def _schemas() -> dict[str, Any]:
    tensor = {"name": _TEXT, "shape": _list(_WHOLE), "datatype": _TEXT, "parameters": {"type": "object"}}
    told = {
        "prediction_id": {"type": "string", "pattern": f"^{prediction_id.PATTERN}$"},
        "label": {"type": ["number", "string", "boolean"]},
        "reward": {"type": ["number", "boolean"]},
    }
    label = {"anyOf": [_object(("prediction_id", needed), **told) for needed in ("label", "reward")]}
    tensor_metadata = _object(
        ("name", "datatype", "shape"), name=_TEXT, datatype=_TEXT, shape=_list(_WHOLE), parameters={"type": "object"}
    )
    split = _object(("columns", "data"), columns=_list(_TEXT), data=_list(_ROW), index=_list(_VALUE))
    return {
        "Error": _object(("error",), error=_TEXT, field=_TEXT),
        "InferRequest": _object(
            ("inputs",),
            id=_TEXT,
            inputs=_list(_object(("name", "shape", "datatype", "data"), **tensor, data=_list({})), minItems=1),
            outputs=_list(_object(("name",), name={"enum": ["predict", "predict_proba"]})),
            parameters={"type": "object"},
        ),
        "InferResponse": _object(
            ("model_name", "model_version", "id", "parameters", "outputs"),
            model_name=_TEXT,
            model_version=_TEXT,
            id=_TEXT,
            parameters=_object(("prediction_id",), prediction_id=_TEXT, prediction_ids=_list(_TEXT)),
            outputs=_list(_object(("name", "shape", "datatype", "data"), **tensor, data=_list(_VALUE))),
        ),
        "Invocation": {
            "oneOf": [
                _object(("dataframe_split",), dataframe_split=split),
                _object(("dataframe_records",), dataframe_records=_list(_RECORD)),
                _object(("instances",), instances={"oneOf": [_list(_RECORD), _list(_ROW)]}),
                _object(("inputs",), inputs={"oneOf": [{"type": "object"}, _list(_RECORD), _list(_ROW)]}),
            ]
        },
        "Predictions": _object(("predictions", "prediction_ids"), predictions=_list({}), prediction_ids=_list(_TEXT)),
        "Feedback": {
            "oneOf": [label, _object(("feedback",), feedback=_list(label, minItems=1))],
        },
        "Accepted": _object(("accepted",), accepted=_WHOLE),
        "Live": _object(("live",), live=_FLAG),
        "Ready": _object(("ready",), ready=_FLAG, reasons=_list(_TEXT), name=_TEXT, version=_TEXT),
        "ServerMetadata": _object(
            ("name", "version", "extensions"), name=_TEXT, version=_TEXT, extensions=_list(_TEXT)
        ),
        "ModelMetadata": _object(
            ("name", "versions", "platform", "inputs", "outputs"),
            name=_TEXT,
            versions=_list(_TEXT),
            platform=_TEXT,
            inputs=_list(tensor_metadata),
            outputs=_list(tensor_metadata),
        ),
        "VersionNumber": _object(("version",), version={"type": "integer", "minimum": 1}),
        "Activation": _object(
            ("version",), version={"type": "integer", "minimum": 1}, champion={"type": "boolean", "default": False}
        ),
        "ModelStatus": _object(
            ("name", "active", "previous", "versions", "failures"),
            name=_TEXT,
            active={"type": ["integer", "null"]},
            previous={"type": ["integer", "null"]},
            versions=_list(_object(("version",), version=_WHOLE, loaded_at=_TEXT, active=_FLAG)),
            failures={"type": "object", "additionalProperties": _TEXT},
        ),
        "AllModels": _object(
            ("models",), models=_list(_ref("ModelStatus")), registry_error={"type": ["string", "null"]}
        ),
        "Compacted": _object(("segments",), segments=_WHOLE),
        "Document": {"type": "object"},
    }
