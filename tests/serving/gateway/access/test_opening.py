"""What is checked before a gateway starts: addresses, certificates and lists. Nothing is asked for on the terminal."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.serving.client.credentials import ClientTls
from airflow_provider_mlops.serving.gateway.access import opening
from airflow_provider_mlops.serving.gateway.settings import Settings
from tests.helpers.serving.certificates import Authority, Issued, private_bytes
from tests.serving.gateway.access.conftest import Keys


@pytest.fixture
def issued(tmp_path: Path) -> Issued:
    return Authority(tmp_path, "authority").issue("gateway")


def refused(tmp_path: Path, **settings: Any) -> InvalidSpecError:
    with pytest.raises(InvalidSpecError) as raised:
        opening.check(Settings(str(tmp_path), **settings))
    return raised.value


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_other_machines_are_not_served_without_keys(
    tmp_path: Path, host: str, keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    error = refused(tmp_path, host=host)
    assert error.field == "host"
    for remedy in ("--keys", "AIRFLOW_MLOPS_GATEWAY_KEY", "--open"):
        assert remedy in str(error)
    assert not (tmp_path / "gateway.key").exists()
    caplog.set_level(logging.INFO)
    opening.check(Settings(str(tmp_path), host=host, keys=keys.path))
    assert "Every request needs a key" in caplog.text
    assert "without encryption" in caplog.text
    caplog.clear()
    opening.check(Settings(str(tmp_path), host=host, open=True))
    assert "may send predictions without a key, because --open is set" in caplog.text


def test_other_machines_are_served_with_a_key_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AIRFLOW_MLOPS_GATEWAY_KEY", "hush-hush")
    caplog.set_level(logging.INFO)
    opening.check(Settings(str(tmp_path), host="0.0.0.0"))
    assert "Every request needs a key" in caplog.text
    assert "could be guessed" in caplog.text
    assert "hush" not in caplog.text
    monkeypatch.setenv("AIRFLOW_MLOPS_GATEWAY_KEY", " ")
    assert refused(tmp_path, host="0.0.0.0").field == "host"


def test_on_loopback_the_doors_are_open_and_one_line_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    opening.check(Settings(str(tmp_path)))
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith("Everyone on this machine may send predictions and feedback without a key")
    assert (tmp_path / "gateway.key").exists()


def test_a_certificate_that_fits_its_key_is_accepted(tmp_path: Path, issued: Issued) -> None:
    opening.check(Settings(str(tmp_path), tls_certificate=issued.certificate, tls_key=issued.key))


def test_what_is_wrong_with_a_certificate_is_said_before_the_start(tmp_path: Path, issued: Issued) -> None:
    other = Authority(tmp_path, "other").issue("other")
    nonsense, encrypted = tmp_path / "nonsense.pem", tmp_path / "encrypted.pem"
    nonsense.write_text("nonsense")
    key = ec.generate_private_key(ec.SECP256R1())
    encrypted.write_bytes(private_bytes(key, serialization.BestAvailableEncryption(b"secret")))
    certificate, right = issued
    for given, field, words in (
        ({"tls_certificate": certificate}, "tls_key", "is required with --tls-certificate"),
        ({"tls_key": right}, "tls_key", "needs a certificate"),
        ({"tls_client_ca": certificate}, "tls_client_ca", "needs a certificate"),
        ({"tls_certificate": "/no/where.pem", "tls_key": right}, "tls_certificate", "No such file"),
        ({"tls_certificate": certificate, "tls_key": "/no/where.pem"}, "tls_key", "No such file"),
        ({"tls_certificate": str(tmp_path), "tls_key": right}, "tls_certificate", "Is a directory"),
        ({"tls_certificate": certificate, "tls_key": other.key}, "tls_key", "does not belong to the certificate"),
        ({"tls_certificate": str(nonsense), "tls_key": right}, "tls_certificate", "must be a PEM certificate"),
        ({"tls_certificate": certificate, "tls_key": str(nonsense)}, "tls_key", "must be the PEM key"),
        ({"tls_certificate": certificate, "tls_key": str(encrypted)}, "tls_key", "must not be encrypted"),
        (
            {"tls_certificate": certificate, "tls_key": right, "tls_client_ca": str(nonsense)},
            "tls_client_ca",
            "PEM certificates",
        ),
        (
            {"tls_certificate": certificate, "tls_key": right, "tls_client_ca": "/no/where.pem"},
            "tls_client_ca",
            "No such file",
        ),
    ):
        error = refused(tmp_path, **given)
        assert (error.field, words in str(error)) == (field, True), str(error)


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"cors_origins": ("*",)}, "cors_origin"),
        ({"cors_origins": ("null",)}, "cors_origin"),
        ({"cors_origins": ("https://app.example.com/",)}, "cors_origin"),
        ({"cors_origins": ("https://*.example.com",)}, "cors_origin"),
        ({"cors_origins": ("app.example.com",)}, "cors_origin"),
        ({"without_key": ("probe",)}, "without_key"),
        ({"keys": "/no/where.json"}, "keys"),
    ],
)
def test_lists_are_checked(tmp_path: Path, settings: dict[str, Any], field: str) -> None:
    assert refused(tmp_path, **settings).field == field


@pytest.mark.parametrize("rate", [0.0, -1.0, float("inf"), float("nan")])
def test_a_limit_must_be_a_positive_number(rate: float) -> None:
    with pytest.raises(InvalidSpecError, match="client_rows"):
        Settings("storage", client_rows=rate)


def test_a_caller_is_told_which_of_its_files_is_wrong(tmp_path: Path, issued: Issued) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    for files, field in (
        (ClientTls(ca_bundle="/no/where.pem"), "ca_bundle"),
        (ClientTls(ca_bundle=str(nonsense)), "ca_bundle"),
        (ClientTls(certificate="/no/where.pem"), "certificate"),
        (ClientTls(certificate=issued.certificate, certificate_key=str(nonsense)), "certificate"),
        (ClientTls(certificate_key=issued.key), "certificate"),
    ):
        with pytest.raises(InvalidSpecError) as raised:
            files.context()
        assert raised.value.field == field
    assert ClientTls(certificate=issued.certificate, certificate_key=issued.key).context() is not None
