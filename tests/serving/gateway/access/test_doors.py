"""A stranger, and clients with each right, at every route that the gateway has."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.settings import RegistrySettings
from airflow_provider_mlops.serving.gateway.access import doors
from airflow_provider_mlops.serving.gateway.access.access import Access
from airflow_provider_mlops.serving.gateway.gateway import Gateway
from airflow_provider_mlops.serving.gateway.http.metrics import Metrics
from airflow_provider_mlops.serving.gateway.settings import Settings
from airflow_provider_mlops.serving.protocols.routes import PREDICT_PATHS
from airflow_provider_mlops.serving.rows.request_error import RequestError
from tests.serving.gateway.access.conftest import Keys, bearer

ADMINISTRATION = ("/admin", "/v2/repository/models")
PREDICTIONS = {path.template for path in PREDICT_PATHS}


def gateway(tmp_path: Path, **settings: Any) -> Gateway:
    storage = str(tmp_path / "mlops")
    return Gateway(Settings(storage, **settings), Registry(RegistrySettings(storage)))


def statuses(made: Gateway, headers: dict[str, str] | None = None) -> dict[str, int]:
    """Send one request to every route, and return the statuses by path."""

    async def send() -> dict[str, int]:
        transport = httpx.ASGITransport(made.asgi(), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8710") as client:
            found = {}
            for route in made.app().routes:
                assert isinstance(route, Route)
                method = "POST" if "POST" in (route.methods or ()) else "GET"
                path = route.path.format(name="churn", version="1")
                found[route.path] = (await client.request(method, path, headers=headers, json={})).status_code
            return found

    return asyncio.run(send())


@pytest.fixture
def closed(tmp_path: Path, keys: Keys) -> Gateway:
    return gateway(tmp_path, keys=keys.path)


def test_a_stranger_gets_401_at_every_route(closed: Gateway) -> None:
    found = statuses(closed)
    assert len(found) > 15
    # The pages for people ask for the key, and contain nothing.
    assert {path for path, status in found.items() if status != 401} == doors.PAGES
    found = statuses(closed, bearer("mlops_" + "x" * 43))
    assert {path for path, status in found.items() if status != 401} == doors.PAGES


def test_each_key_opens_what_it_has_a_right_for(closed: Gateway, keys: Keys) -> None:
    any_right = {path for path in statuses(closed) if doors.right_of(path) is None} - PREDICTIONS | doors.PAGES
    administration = {path for path in statuses(closed) if path.startswith(ADMINISTRATION)}
    for key, opened in (
        (keys.predict, any_right | PREDICTIONS),
        (keys.feedback, any_right | {"/feedback"}),
        (keys.monitoring, any_right | {"/metrics"}),
        (keys.administration, any_right | PREDICTIONS | administration | {"/metrics"}),
    ):
        found = statuses(closed, bearer(key))
        assert {path for path, status in found.items() if status not in (401, 403)} == opened
        assert {status for path, status in found.items() if path not in opened} == {403}


def test_a_key_of_one_model_opens_nothing_of_another(closed: Gateway, keys: Keys) -> None:
    found = statuses(closed, bearer(keys.churn))
    assert found["/v2/models/{name}/infer"] not in (401, 403)
    assert found["/admin/models/{name}/load"] not in (401, 403)

    async def others() -> dict[str, int]:
        transport = httpx.ASGITransport(closed.asgi())
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=bearer(keys.churn)) as c:
            return {
                path: (await c.request(method, path, json={})).status_code
                for method, path in (
                    ("POST", "/v2/models/cancer/infer"),
                    ("POST", "/v2/models/cancer/versions/1/infer"),
                    ("POST", "/models/cancer/invocations"),
                    ("POST", "/endpoints/cancer/invocations"),
                    ("POST", "/v2/models/churn%2F..%2Fcancer/infer"),
                    ("GET", "/v2/models/cancer"),
                    ("GET", "/v2/models/cancer/stats"),
                    ("GET", "/api/2.0/endpoints/cancer"),
                    ("POST", "/v2/repository/models/cancer/load"),
                    ("GET", "/v2/models/cancer/versions/1/ready"),
                    ("POST", "/admin/models/cancer/activate"),
                )
            }

    answers = asyncio.run(others())
    # A name with an encoded slash is another path, which does not exist.
    assert answers.pop("/v2/models/churn%2F..%2Fcancer/infer") == 404
    assert set(answers.values()) == {403}


def test_without_keys_all_but_administration_is_open_on_loopback(tmp_path: Path) -> None:
    found = statuses(gateway(tmp_path))
    assert {path for path, status in found.items() if status == 401} == {
        path for path in found if path.startswith(ADMINISTRATION)
    }
    assert 403 not in found.values()


def test_open_to_others_means_predictions_only(tmp_path: Path) -> None:
    found = statuses(gateway(tmp_path, host="0.0.0.0", open=True))
    closed = {path for path, status in found.items() if status == 401}
    assert closed == {"/feedback", "/metrics", *(path for path in found if path.startswith(ADMINISTRATION))}


@pytest.mark.parametrize(("name", "paths"), [("probes", doors.PROBES), ("metrics", doors.METRICS)])
def test_probes_and_metrics_can_be_exempt(tmp_path: Path, keys: Keys, name: str, paths: frozenset[str]) -> None:
    found = statuses(gateway(tmp_path, keys=keys.path, without_key=(name,)))
    assert {path for path, status in found.items() if status != 401} == paths | doors.PAGES


def test_a_new_route_is_closed_until_someone_gives_it_a_door(tmp_path: Path) -> None:
    async def secret(request: Request) -> Response:
        return Response("secret")

    access = Access(Settings(str(tmp_path)), Metrics())
    [route] = doors.guard([Route("/new", secret)], access)

    async def send() -> None:
        await route.app({"type": "http", "path_params": {}, "headers": []}, lambda: None, lambda message: None)  # type: ignore[arg-type,return-value]

    with pytest.raises(RequestError) as raised:
        asyncio.run(send())
    assert raised.value.status == 401


HOSTILE: list[list[tuple[bytes, bytes]]] = [
    [],
    [(b"authorization", b"")],
    [(b"authorization", b"Bearer")],
    [(b"authorization", b"Bearer ")],
    [(b"authorization", b"Bearer \xff\xfe")],
    [(b"authorization", "Bearer sch\u00f6n".encode())],
    [(b"authorization", b"Bearer " + b"x" * 60_000)],
    [(b"authorization", b"Bearer \x00")],
    [(b"authorization", b"Basic KEY")],
    [(b"authorization", b"KEY")],
    [(b"authorization", b"Bearer KEYx")],
    [(b"authorization", b"Bearer KEY KEY")],
    [(b"authorization", b"Bearer KEY,Bearer KEY")],
    [(b"authorization", b"Bearer KEY"), (b"authorization", b"Bearer KEY")],
    [(b"authorization", b"Bearer KEY"), (b"authorization", b"Bearer wrong")],
    [(b"x-authorization", b"Bearer KEY"), (b"proxy-authorization", b"Bearer KEY")],
    [(b"cookie", b"authorization=Bearer KEY")],
]


@pytest.mark.parametrize("headers", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_headers_open_nothing(tmp_path: Path, keys: Keys, headers: list[tuple[bytes, bytes]]) -> None:
    access = Access(Settings(str(tmp_path), keys=keys.path), Metrics())
    sent = [(name, value.replace(b"KEY", keys.administration.encode())) for name, value in headers]
    for right in (None, "prediction", "feedback", "monitoring", "administration"):
        with pytest.raises(RequestError) as raised:
            access.authorize(sent, right, "churn")  # type: ignore[arg-type]
        assert raised.value.status == 401
        assert raised.value.headers["WWW-Authenticate"].startswith("Bearer")
        assert keys.administration not in raised.value.message


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_may_be_written_in_any_case(tmp_path: Path, keys: Keys, scheme: str) -> None:
    access = Access(Settings(str(tmp_path), keys=keys.path), Metrics())
    header = f"{scheme}  {keys.predict} ".encode()
    caller = access.authorize([(b"authorization", header)], "prediction", "churn")
    assert caller.client is not None
    assert caller.client.name == "web"


def test_the_key_in_the_environment_has_all_rights_beside_the_file(
    tmp_path: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_MLOPS_GATEWAY_KEY", "from-the-environment")
    access = Access(Settings(str(tmp_path), keys=keys.path), Metrics())
    for key in ("from-the-environment", keys.administration):
        access.authorize([(b"authorization", b"Bearer " + key.encode())], "administration", "churn")
    with pytest.raises(RequestError):
        access.authorize([], "prediction", "churn")


def test_the_limits_of_a_client_and_of_an_address_are_counted_apart(tmp_path: Path, keys: Keys) -> None:
    access = Access(Settings(str(tmp_path), client_requests=1.0), Metrics())
    access.authorize([], "prediction", "churn", "192.0.2.1")
    with pytest.raises(RequestError) as raised:
        access.authorize([], None, None, "192.0.2.1")
    assert (raised.value.status, raised.value.headers["Retry-After"]) == (429, "1")
    access.authorize([], "prediction", "churn", "192.0.2.2")
    # One customer has a whole network of IPv6.
    access.authorize([], "prediction", "churn", "2001:db8::1")
    with pytest.raises(RequestError):
        access.authorize([], "prediction", "churn", "2001:db8::2")
    # Deployments and monitoring go on.
    local = [(b"authorization", b"Bearer " + (tmp_path / "gateway.key").read_bytes().strip())]
    for _ in range(3):
        access.authorize(local, "administration", "churn", "192.0.2.1")
        access.authorize([], "monitoring", None, "192.0.2.1")


@pytest.mark.parametrize("amount", ["rows", "bytes", "labels"])
def test_what_a_request_has_used_keeps_the_next_one_out(tmp_path: Path, amount: Any) -> None:
    right: Any = "feedback" if amount == "labels" else "prediction"
    other: Any = "prediction" if amount == "labels" else "feedback"
    access = Access(Settings(str(tmp_path), **{f"client_{amount}": 100.0}), Metrics())
    access.authorize([], right, None, "192.0.2.1").spend(amount, 1000)
    with pytest.raises(RequestError, match=f"100 {amount} per second"):
        access.authorize([], right, None, "192.0.2.1")
    if amount != "bytes":
        access.authorize([], other, None, "192.0.2.1")
