from __future__ import annotations

import json
import socket

import pytest

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.hooks.mlflow import MlflowHook
from tests.helpers.serving.live_gateway import LiveGateway


def connect(monkeypatch: pytest.MonkeyPatch, conn_id: str = "mlflow_default", **fields: object) -> None:
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps({"conn_type": "mlflow", **fields}))


def test_without_a_connection_the_embedded_default(storage, monkeypatch):
    hook = MlflowHook()
    assert hook.settings().tracking_uri is None
    assert hook.settings().secrets() == {}
    assert hook.run_url("abc") is None
    works, message = hook.test_connection()
    assert works, message
    assert str(storage) in message
    assert (storage / "mlflow.db").exists()


def test_a_connection_that_is_named_must_exist(storage):
    with pytest.raises(InvalidSpecError, match="mlflow_conn_id='nowhere'"):
        MlflowHook("nowhere").settings()


def test_what_the_connection_says(storage, monkeypatch):
    connect(
        monkeypatch,
        "other",
        host="https://mlflow.example.com/",
        login="ada",
        password="a-secret-password",
        extra={"registry_uri": "https://registry.example.com", "token": "a-secret-token"},
    )
    hook = MlflowHook("other")
    settings = hook.settings()
    assert (settings.tracking_uri, settings.registry_uri) == (
        "https://mlflow.example.com",
        "https://registry.example.com",
    )
    assert {name: value.get_secret_value() for name, value in settings.secrets().items()} == {
        "mlflow_username": "ada",
        "mlflow_password": "a-secret-password",
        "mlflow_token": "a-secret-token",
    }
    assert "secret" not in repr(settings)
    assert hook.run_url("abc") == "https://mlflow.example.com/#/runs/abc"
    assert hook.model_url("a b", 2) == "https://registry.example.com/#/models/a%20b/versions/2"


def test_secrets_are_masked(storage, monkeypatch):
    from airflow.providers.common.compat.sdk import redact

    connect(monkeypatch, host="https://mlflow.example.com", password="hush-hush-1", extra={"token": "hush-hush-2"})
    MlflowHook().settings()
    assert redact("hush-hush-1 and hush-hush-2") == "*** and ***"


def test_a_connection_written_as_a_uri(storage, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_MLFLOW_DEFAULT", "mlflow://ada:pw@mlflow.example.com:5000/https")
    settings = MlflowHook().settings()
    assert (settings.tracking_uri, settings.username) == ("https://mlflow.example.com:5000", "ada")


def test_the_test_button_talks_to_the_server(storage, monkeypatch, mlflow_server):
    connect(monkeypatch, host=mlflow_server)
    works, message = MlflowHook().test_connection()
    assert works, message
    assert mlflow_server in message


def test_the_test_button_says_that_nobody_answers(storage, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    connect(monkeypatch, host=f"http://127.0.0.1:{port}")
    works, message = MlflowHook().test_connection()
    assert not works
    assert f"MLflow at http://127.0.0.1:{port} is unavailable" in message


def test_the_test_button_says_that_another_server_answers(storage, monkeypatch):
    with LiveGateway(storage) as gateway:
        connect(monkeypatch, host=gateway.url)
        works, message = MlflowHook().test_connection()
    assert not works
    assert f"The server at {gateway.url} is not MLflow" in message


def test_the_form_s_test_button_finds_the_hook(storage, mlflow_server, monkeypatch, airflow_database):
    from airflow.models.connection import Connection

    monkeypatch.setenv("AIRFLOW__CORE__TEST_CONNECTION", "Enabled")
    connection = Connection(conn_id="tried", conn_type="mlflow", host=mlflow_server)
    monkeypatch.setenv("AIRFLOW_CONN_TRIED", connection.get_uri())
    works, message = connection.test_connection()
    assert works, message
