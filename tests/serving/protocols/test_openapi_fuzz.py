"""Requests made by schemathesis from the OpenAPI document: what comes back is what the document says."""

from __future__ import annotations

import copy
import json
from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi import checks

from airflow_provider_mlops.serving.gateway.access import local_key
from airflow_provider_mlops.serving.protocols import openapi
from tests.helpers.serving.live_gateway import LiveGateway
from tests.helpers.serving.served_registry import CANCER, CUSTOMERS

DOCUMENT = openapi.document("tested")
CONFIG = SchemathesisConfig.from_dict(
    {
        "seed": 1,
        "generation": {"deterministic": True, "no-shrink": True, "max-examples": 25},
        "checks": {
            # What the protocol allows may still not fit a model, exist, or be allowed, or be too large. Too many of the
            # requests with a wrong key are refused before anything else.
            "positive_data_acceptance": {"expected-statuses": ["2xx", 401, 404, 413, 415, 422, 429]},
            "negative_data_rejection": {"expected-statuses": ["4xx"]},
        },
    }
)
EXAMPLES = {
    "infer": (
        "cancer",
        {"inputs": [{"name": "rows", "shape": [1, 30], "datatype": "FP64", "data": CANCER.iloc[0].tolist()}]},
    ),
    "invocations": ("churn", {"dataframe_records": json.loads(CUSTOMERS.iloc[1:3].to_json(orient="records"))}),
}
PARAMETERS = {
    "name": {"enum": ["cancer", "churn", "price", "nobody", " ", "ü/?#%2F\0", "'; --", "x" * 300]},
    "version": {"enum": ["1", "2", "99", "first", "-1", "9" * 50]},
}
NUMBERS = {"enum": [1, 2, 3, 4, 99, 2**31 - 1]}


def about_these_models() -> dict[str, Any]:
    """The document as one knows it who has seen which models this gateway serves, or else nearly all is 404."""
    document = copy.deepcopy(DOCUMENT)
    for path, entry in document["paths"].items():
        name, body = EXAMPLES.get(path.rpartition("/")[2], ("cancer", None))
        for parameter in entry.get("parameters", []):
            parameter["schema"] = PARAMETERS[parameter["name"]]
            parameter["example"] = name if parameter["name"] == "name" else "1"
        if body is not None:
            entry["post"]["requestBody"]["content"]["application/json"]["example"] = body
    for schema in ("VersionNumber", "Activation"):
        document["components"]["schemas"][schema]["properties"]["version"] = NUMBERS
    return document


SCHEMA = schemathesis.openapi.from_dict(about_these_models(), config=CONFIG)
FUZZ = settings(deadline=None, suppress_health_check=list(HealthCheck))


def check(case: Case, gateway: LiveGateway, **headers: str) -> httpx.Response:
    # How many values a tensor must hold, and which columns a CSV file must have, is beyond a schema.
    is_free = case.path.endswith("/infer") or case.media_type == "text/csv"
    excluded = [checks.positive_data_acceptance] if is_free else []
    # It wants 401 for each wrong key, of which an address may send a few only. The tests of the doors send them.
    excluded.append(checks.ignored_auth)
    return case.call_and_validate(base_url=gateway.url, headers=headers, timeout=20, excluded_checks=excluded)


def test_the_gateway_serves_this_document(gateway: LiveGateway) -> None:
    served = httpx.get(f"{gateway.url}/openapi.json").json()
    assert served == openapi.document(served["info"]["version"])


@SCHEMA.parametrize()
@FUZZ
def test_without_a_key(case: Case, gateway: LiveGateway) -> None:
    answer = check(case, gateway)
    if case.path.startswith("/admin") and case.method == case.operation.method.upper():
        assert answer.status_code in (401, 429)


@SCHEMA.include(path_regex="^/admin").parametrize()
@FUZZ
def test_with_the_key(case: Case, gateway: LiveGateway) -> None:
    check(case, gateway, Authorization=f"Bearer {local_key.find(str(gateway.storage))}")
