"""Schemas of request and response bodies for the OpenAPI document; `responses` has the same shapes as types."""

from __future__ import annotations

from typing import Any

from airflow_provider_mlops.serving.log import prediction_id
from airflow_provider_mlops.serving.protocols import feedback
from airflow_provider_mlops.serving.protocols.datatypes import DATATYPES

TEXT = {"type": "string"}
WHOLE = {"type": "integer"}
COUNT = {"type": "integer", "minimum": 0}
_FLAG = {"type": "boolean"}
_PARAMETERS = {"type": "object"}
_VERSION = {"type": "integer", "minimum": 1, "maximum": 2**31 - 1}
_VALUE = {"type": ["number", "string", "boolean", "null"]}


def ref(name: str) -> dict[str, str]:
    """Return a reference to a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def schemas() -> dict[str, Any]:
    """Return all schemas by name."""
    return {**_predictions(), **_feedback(), **_metadata(), **_administration(), "Document": {"type": "object"}}


def _predictions() -> dict[str, Any]:
    row = _list(_VALUE)
    record = {"type": "object", "additionalProperties": _VALUE}
    rows = {"anyOf": [_list(record), _list(row)]}
    name = {"type": ["string", "integer"], "minimum": -(2**63), "maximum": 2**63 - 1}
    split = _only(("columns", "data"), columns=_list(name), data=_list(row), index={})
    forms = {
        "dataframe_split": split,
        "dataframe_records": _list(record),
        "instances": rows,
        "inputs": {},
    }
    ignored = {"params": {"type": ["object", "null"], "maxProperties": 0}, "signature_name": {"type": "null"}}
    tensor = {
        "name": TEXT,
        "shape": _list(COUNT, minItems=1, maxItems=32),
        "datatype": {"enum": sorted(DATATYPES)},
        "parameters": _object(binary_data_size=COUNT),
        "data": _list({}),
    }
    in_binary = {"required": ["parameters"], "properties": {"parameters": {"required": ["binary_data_size"]}}}
    input_tensor = {**_object(("name", "shape", "datatype"), **tensor), "anyOf": [{"required": ["data"]}, in_binary]}
    output = {"enum": ["predict", "predict_proba"]}
    requested = _object(("name",), name=output, parameters=_object(binary_data=_FLAG))
    return {
        "InferRequest": _object(
            ("inputs",),
            id={"type": ["string", "null"], "maxLength": 1000},
            inputs=_list(input_tensor, minItems=1),
            outputs=_list({"anyOf": [requested, output]}),
            parameters=_object(binary_data_output=_FLAG),
        ),
        "InferResponse": _object(
            ("model_name", "model_version", "id", "parameters", "outputs"),
            model_name=TEXT,
            model_version=TEXT,
            id=TEXT,
            parameters=_object(prediction_id=TEXT, prediction_ids=_list(TEXT)),
            outputs=_list({**input_tensor, "properties": {**tensor, "name": output, "data": _list(_VALUE)}}),
        ),
        "Invocation": {"oneOf": [_only((form,), **{form: schema}, **ignored) for form, schema in forms.items()]},
        "Predictions": _only(("predictions", "prediction_ids"), predictions=_list({}), prediction_ids=_list(TEXT)),
        "Error": _only(("error",), error=TEXT, field=TEXT),
    }


def _feedback() -> dict[str, Any]:
    fields = {
        "prediction_id": {"type": "string", "pattern": f"^{prediction_id.PATTERN}$"},
        "label": {"type": ["number", "string", "boolean"], "maxLength": feedback.MAX_LABEL_LENGTH},
        "reward": {"type": ["number", "boolean"]},
    }
    label = {"anyOf": [_only(("prediction_id", required), **fields) for required in ("label", "reward")]}
    return {
        "Feedback": {"oneOf": [label, _only(("feedback",), feedback=_list(label, minItems=1))]},
        "Accepted": _only(("accepted",), accepted=COUNT),
    }


def _metadata() -> dict[str, Any]:
    tensor = _object(
        ("name", "datatype", "shape"),
        name=TEXT,
        datatype={"enum": sorted(DATATYPES)},
        shape=_list(WHOLE, minItems=1),
        parameters=_PARAMETERS,
    )
    return {
        "Live": _only(("live",), live=_FLAG),
        "Ready": _only(
            ("ready", "status", "reasons", "degraded", "failing"),
            ready=_FLAG,
            status=TEXT,
            reasons=_list(TEXT),
            degraded=_list(TEXT),
            failing=_list(TEXT),
        ),
        "ModelReady": _only(("name", "version", "ready"), name=TEXT, version=TEXT, ready=_FLAG),
        "ModelNames": _only(("models",), models=_list(TEXT)),
        "ModelStatistics": _only(("model_stats",), model_stats=_list(_statistics())),
        "IndexRequest": _object(ready=_FLAG),
        "RepositoryIndex": _list(
            _only(
                ("name", "version", "state", "reason"),
                name=TEXT,
                version=TEXT,
                state={"enum": ["READY", "UNAVAILABLE"]},
                reason=TEXT,
            )
        ),
        "Endpoints": _only(("endpoints",), endpoints=_list(ref("Endpoint"))),
        "Endpoint": _only(
            ("name", "endpoint_type", "model", "endpoint_url", "limit"),
            name=TEXT,
            endpoint_type=TEXT,
            model=_only(("name", "provider"), name=TEXT, provider=TEXT),
            endpoint_url=TEXT,
            limit={"type": "null"},
        ),
        "ServerMetadata": _only(("name", "version", "extensions"), name=TEXT, version=TEXT, extensions=_list(TEXT)),
        "ModelMetadata": _only(
            ("name", "versions", "platform", "inputs", "outputs"),
            name=TEXT,
            versions=_list(TEXT),
            platform=TEXT,
            inputs=_list(tensor),
            outputs=_list(tensor),
        ),
    }


def _statistics() -> dict[str, Any]:
    success = _only(("count", "ns"), count=COUNT, ns=COUNT)
    return _only(
        ("name", "version", "share", "inference_count", "inference_stats"),
        name=TEXT,
        version=TEXT,
        share={"type": "number", "minimum": 0, "maximum": 1},
        inference_count=COUNT,
        inference_stats=_only(("success", "fail"), success=success, fail=_only(("count",), count=COUNT)),
    )


def _administration() -> dict[str, Any]:
    number = {"type": ["integer", "null"]}
    loaded = _object(("version", "loaded_at", "active"), version=WHOLE, loaded_at=TEXT, active=_FLAG)
    rollout = _object(
        (
            "id",
            "strategy",
            "status",
            "paused",
            "step",
            "step_text",
            "arms",
            "weights",
            "cohort",
            "last_check",
            "last_check_by",
            "unattended_timeout",
            "store_error",
        ),
        id=TEXT,
        strategy=TEXT,
        status=TEXT,
        paused=_FLAG,
        step=COUNT,
        step_text=TEXT,
        arms={"type": "object", "additionalProperties": WHOLE},
        weights={"type": "object", "additionalProperties": {"type": "number", "minimum": 0, "maximum": 1}},
        cohort={"type": ["string", "null"]},
        last_check={"type": ["string", "null"]},
        last_check_by={"type": ["string", "null"]},
        unattended_timeout={"type": ["number", "null"], "exclusiveMinimum": 0},
        store_error={"type": ["string", "null"]},
    )
    return {
        "RepositoryChange": _object(
            parameters={
                "type": ["object", "null"],
                "properties": {"version": _VERSION, "unload_dependents": _FLAG},
                "additionalProperties": False,
            }
        ),
        "VersionNumber": _object(("version",), version=_VERSION),
        "Activation": _object(("version",), version=_VERSION, champion={"type": "boolean", "default": False}),
        "ModelStatus": _object(
            ("name", "active", "previous", "versions", "failures"),
            name=TEXT,
            active=number,
            previous=number,
            versions=_list(loaded),
            failures={"type": "object", "additionalProperties": TEXT},
            rollout={"anyOf": [rollout, {"type": "null"}]},
        ),
        "AllModels": _object(
            ("models", "registry_error"),
            models=_list(ref("ModelStatus")),
            registry_error={"type": ["string", "null"]},
        ),
        "Compacted": _only(("segments",), segments=COUNT),
    }


def _object(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": properties}


def _only(required: tuple[str, ...], **properties: Any) -> dict[str, Any]:
    """Describe an object without further properties."""
    return {**_object(required, **properties), "additionalProperties": False}


def _list(items: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": items, **more}
