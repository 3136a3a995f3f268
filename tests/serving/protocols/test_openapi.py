"""The OpenAPI document agrees with the gateway's routes and with the types that the client returns."""

from __future__ import annotations

from typing import Any, NotRequired, get_origin, get_type_hints

import pytest

from airflow_provider_mlops.serving.protocols import openapi, openapi_schemas, responses, routes

SCHEMAS = openapi_schemas.schemas()
STATUS = SCHEMAS["ModelStatus"]["properties"]
METADATA = SCHEMAS["ModelMetadata"]["properties"]
INFER = SCHEMAS["InferResponse"]["properties"]


@pytest.mark.parametrize(
    ("shape", "schema"),
    [
        (responses.AllModels, SCHEMAS["AllModels"]),
        (responses.ModelStatus, SCHEMAS["ModelStatus"]),
        (responses.LoadedVersion, STATUS["versions"]["items"]),
        (responses.RolloutStatus, STATUS["rollout"]["anyOf"][0]),
        (responses.ModelMetadata, SCHEMAS["ModelMetadata"]),
        (responses.TensorMetadata, METADATA["inputs"]["items"]),
        (responses.InferResponse, SCHEMAS["InferResponse"]),
        (responses.ResponseParameters, INFER["parameters"]),
    ],
)
def test_a_response_type_has_the_fields_of_its_schema(shape: Any, schema: dict[str, Any]) -> None:
    hints = get_type_hints(shape, include_extras=True)
    assert set(hints) == set(schema["properties"])
    assert {name for name, hint in hints.items() if get_origin(hint) is not NotRequired} == set(schema["required"])


def test_every_prediction_path_is_in_the_document() -> None:
    paths = openapi.document("1")["paths"]
    for path in routes.PREDICT_PATHS:
        operation = paths[path.template]
        assert [parameter["name"] for parameter in operation.get("parameters", ())] == list(path.parameters)
        url = path.template.format(name="churn", version="3")
        route = routes.match_route(url)
        assert route is not None
        assert route.parse is path.parse
        assert route.model == ("churn" if "name" in path.parameters else None)
        assert route.version == ("3" if "version" in path.parameters else None)


@pytest.mark.parametrize("path", ["/", "/v2/models//infer", "/v2/models/a/b/infer", "/v2/models/churn", "/models/x"])
def test_other_paths_are_not_predictions(path: str) -> None:
    assert routes.match_route(path) is None
