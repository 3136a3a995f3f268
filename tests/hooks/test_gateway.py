from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.hooks.gateway import MlopsGatewayHook
from airflow_provider_mlops.serving.defaults import DEFAULT_GATEWAY_URL
from airflow_provider_mlops.serving.gateway.access import local_key
from tests.helpers.serving.live_gateway import LiveGateway


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory):
    with LiveGateway(tmp_path_factory.mktemp("gateway")) as running:
        yield running


def connect(monkeypatch: pytest.MonkeyPatch, **fields: object) -> None:
    document = json.dumps({"conn_type": "mlops_gateway", **fields})
    monkeypatch.setenv("AIRFLOW_CONN_MLOPS_GATEWAY_DEFAULT", document)


def test_without_a_connection_this_machine(storage):
    settings = MlopsGatewayHook().settings()
    assert (settings.url, settings.secrets()) == (DEFAULT_GATEWAY_URL, {})
    with pytest.raises(InvalidSpecError, match="gateway_conn_id='nowhere'"):
        MlopsGatewayHook("nowhere").settings()


def test_the_test_button_takes_the_key_of_the_connection(storage, monkeypatch, gateway):
    right = local_key.find(str(gateway.storage))
    connect(monkeypatch, host=gateway.url, password=right)
    assert MlopsGatewayHook().settings().secrets()["gateway_key"].get_secret_value() == right
    assert MlopsGatewayHook().test_connection() == (
        True,
        f"The gateway at {gateway.url} is available and has 0 models.",
    )
    connect(monkeypatch, host=gateway.url, password="wrong-key")
    works, message = MlopsGatewayHook().test_connection()
    assert not works
    assert "gateway_conn_id" in message
    assert "wrong-key" not in message


def test_without_a_key_the_one_in_the_storage_is_used(monkeypatch, gateway):
    monkeypatch.setenv("AIRFLOW__MLOPS__STORAGE_URI", str(gateway.storage))
    connect(monkeypatch, host=gateway.url)
    works, message = MlopsGatewayHook().test_connection()
    assert works, message


def test_a_gateway_that_is_away(storage, monkeypatch):
    connect(monkeypatch, host="http://127.0.0.1:1")
    works, message = MlopsGatewayHook().test_connection()
    assert not works
    assert "http://127.0.0.1:1 is unavailable" in message


def test_an_address_where_another_server_answers(storage, monkeypatch, mlflow_server):
    connect(monkeypatch, host=mlflow_server, password="any")
    works, message = MlopsGatewayHook().test_connection()
    assert not works
    assert f"The server at {mlflow_server} is not the gateway" in message
    assert "/admin/models" in message


def test_the_key_is_masked(storage: Path, monkeypatch):
    from airflow.providers.common.compat.sdk import redact

    connect(monkeypatch, host="https://gateway", password="hush-hush-4")
    settings = MlopsGatewayHook().settings()
    assert redact("key hush-hush-4") == "key ***"
    assert "hush" not in repr(settings)
