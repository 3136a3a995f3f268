"""Web pages: an allow-list of origins, preflights, and pages that use a gateway without a key."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from airflow_provider_mlops.serving.gateway.access.access import Access
from airflow_provider_mlops.serving.gateway.http.metrics import Metrics
from airflow_provider_mlops.serving.gateway.settings import Settings
from airflow_provider_mlops.serving.rows.request_error import RequestError
from tests.serving.gateway.access.conftest import Keys, bearer
from tests.serving.gateway.access.test_doors import gateway

APP, OTHER = "https://app.example.com", "https://evil.example.com"
PATH = "/models/churn/invocations"


def send(
    tmp_path: Path, method: str, origin: str | None, headers: dict[str, str], **settings: object
) -> httpx.Response:
    made = gateway(tmp_path, **settings)

    async def request() -> httpx.Response:
        transport = httpx.ASGITransport(made.asgi())
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8710") as client:
            sent = headers | ({} if origin is None else {"Origin": origin})
            return await client.request(method, PATH, headers=sent, json={})

    return asyncio.run(request())


PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}


def test_a_preflight_of_an_allowed_origin_needs_no_key_and_the_request_does(tmp_path: Path, keys: Keys) -> None:
    settings = {"keys": keys.path, "cors_origins": (APP, "https://second.example.com")}
    answer = send(tmp_path, "OPTIONS", APP, PREFLIGHT, **settings)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == APP
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "authorization" in answer.headers["access-control-allow-headers"].lower()
    assert "access-control-allow-credentials" not in answer.headers
    assert "Origin" in answer.headers["vary"]
    refused = send(tmp_path, "POST", APP, {}, **settings)
    # The page can read why.
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, APP)
    used = send(tmp_path, "POST", APP, bearer(keys.predict), **settings)
    # The key lets it in, and no model is loaded here.
    assert used.status_code == 503
    assert used.headers["access-control-allow-origin"] == APP
    assert "x-prediction-id" in used.headers["access-control-expose-headers"].lower()


@pytest.mark.parametrize("origin", [OTHER, "null", "https://app.example.com.evil.com", "http://app.example.com"])
def test_another_origin_is_not_allowed(tmp_path: Path, keys: Keys, origin: str) -> None:
    settings = {"keys": keys.path, "cors_origins": (APP,)}
    preflight = send(tmp_path, "OPTIONS", origin, PREFLIGHT, **settings)
    assert preflight.status_code == 400
    answer = send(tmp_path, "POST", origin, bearer(keys.predict), **settings)
    for response in (preflight, answer):
        assert "access-control-allow-origin" not in response.headers
        assert "Origin" in response.headers["vary"]


def test_a_response_without_an_origin_varies_as_well(tmp_path: Path, keys: Keys) -> None:
    """Otherwise a cache would give it to an allowed page, whose browser would refuse it."""
    answer = send(tmp_path, "POST", None, bearer(keys.predict), keys=keys.path, cors_origins=(APP,))
    assert "Origin" in answer.headers["vary"]


def test_without_an_allow_list_no_preflight_is_answered(tmp_path: Path) -> None:
    answer = send(tmp_path, "OPTIONS", APP, PREFLIGHT)
    assert answer.status_code == 405
    assert not any(name.startswith("access-control") for name in answer.headers)


@pytest.mark.parametrize(
    ("origin", "host", "is_let_in"),
    [
        ("https://evil.example.com", "127.0.0.1:8710", False),
        ("null", "127.0.0.1:8710", False),
        ("http://127.0.0.1:3000", "127.0.0.1:8710", False),
        ("http://127.0.0.1:8710", "127.0.0.1:8710", True),
        ("http://localhost:8710", "localhost:8710", True),
        ("http://[::1]:8710", "[::1]:8710", True),
        # A name that its owner lets point to this machine (DNS rebinding).
        ("http://evil.example.com:8710", "evil.example.com:8710", False),
        (APP, "127.0.0.1:8710", True),
        ("\xff\xfe", "127.0.0.1:8710", False),
        ("http://[", "[", False),
    ],
)
def test_a_page_that_a_user_visits_cannot_use_the_gateway_on_the_users_machine(
    tmp_path: Path, origin: str, host: str, is_let_in: bool
) -> None:
    access = Access(Settings(str(tmp_path), cors_origins=(APP,)), Metrics())
    headers = [(b"host", host.encode()), (b"origin", origin.encode("latin-1"))]
    if is_let_in:
        access.authorize(headers, "feedback")
        return
    with pytest.raises(RequestError) as raised:
        access.authorize(headers, "feedback")
    assert (raised.value.status, raised.value.field) == (403, "Origin")
