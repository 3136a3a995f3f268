"""An address that sends wrong keys is limited; a valid key from the same address is not."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from airflow_provider_mlops.serving.gateway.access.access import Access
from airflow_provider_mlops.serving.gateway.access.wrong_keys import BURST, WrongKeys, WrongKeysError
from airflow_provider_mlops.serving.gateway.http.metrics import Metrics
from airflow_provider_mlops.serving.gateway.settings import Settings
from airflow_provider_mlops.serving.rows.request_error import RequestError
from tests.serving.gateway.access.conftest import Keys

ADDRESS = "192.0.2.7"


def headers(key: str) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", f"Bearer {key}".encode())]


def refused(access: Access, sent: list[tuple[bytes, bytes]], address: str | None = ADDRESS) -> RequestError:
    with pytest.raises(RequestError) as raised:
        access.authorize(sent, "prediction", "churn", address)
    return raised.value


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def access(tmp_path: Path, keys: Keys, metrics: Metrics) -> Access:
    return Access(Settings(str(tmp_path), keys=keys.path), metrics)


def test_wrong_keys_are_limited_by_address_and_valid_ones_are_not(
    access: Access, keys: Keys, metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(BURST):
        assert refused(access, headers(f"wrong-{number}")).status == 401
    for number in range(5):
        error = refused(access, headers(f"other-{number}"))
        assert (error.status, error.field) == (429, "Authorization")
        assert int(error.headers["Retry-After"]) >= 1
    # A proxy sends the requests of all its clients from one address.
    client = access.authorize(headers(keys.predict), "prediction", "churn", ADDRESS).client
    assert client is not None
    assert client.name == "web"
    # Other addresses, and requests that try no key, are not concerned.
    assert refused(access, headers("wrong"), "192.0.2.8").status == 401
    assert refused(access, []).status == 401
    text = metrics.text([], 0).decode()
    assert 'mlops_limited_requests_total{client="",limit="wrong keys"} 5.0' in text
    [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert record.getMessage().startswith(f"{ADDRESS} has sent more than {BURST} wrong keys")


@pytest.mark.parametrize("value", [b"Basic dXNlcjpzZWNyZXQ=", b"Bearer \xff", b"Bearer " + b"x" * 5000, b""])
def test_anything_that_is_not_a_valid_key_counts(access: Access, value: bytes) -> None:
    sent = [(b"authorization", value)]
    found = {refused(access, sent).status for _ in range(BURST)}
    assert (found, refused(access, sent).status) == ({401}, 429)


def test_a_key_that_only_a_verification_or_a_web_page_needs_is_limited_too(tmp_path: Path) -> None:
    local = Access(Settings(str(tmp_path)), Metrics())
    page = [*headers("wrong"), (b"origin", b"https://evil.example.com")]
    for _ in range(BURST // 2):
        assert refused(local, page).status == 403
        with pytest.raises(RequestError, match="not valid"):
            local.require(headers("wrong"), "administration", "churn", ADDRESS)
    assert refused(local, page).status == 429
    with pytest.raises(WrongKeysError):
        local.require(headers("wrong"), "administration", "churn", ADDRESS)
    # The door is open, with a wrong key as without any.
    assert local.authorize(headers("wrong"), "prediction", "churn", ADDRESS).client is None


def test_an_address_recovers_and_memory_is_bounded() -> None:
    now = [0.0]
    wrong_keys = WrongKeys(max_addresses=3, clock=lambda: now[0])
    for _ in range(BURST):
        wrong_keys.count(ADDRESS)
    with pytest.raises(WrongKeysError):
        wrong_keys.count(ADDRESS)
    now[0] = 2.0
    wrong_keys.count(ADDRESS)
    with pytest.raises(WrongKeysError):
        wrong_keys.count(ADDRESS)
    # One customer has many addresses of IPv6.
    for host in range(1, BURST + 1):
        wrong_keys.count(f"2001:db8::{host:x}")
    with pytest.raises(WrongKeysError):
        wrong_keys.count("2001:db8::ffff")
    for last in range(20):
        wrong_keys.count(f"198.51.100.{last}")
    assert len(wrong_keys) == 3
