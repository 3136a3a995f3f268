"""The files of the certificate are read again when they have changed, and only if they are valid."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from pathlib import Path

import pytest

from airflow_provider_mlops.serving.gateway.access.tls import Certificates
from tests.helpers.serving.certificates import Authority, Issued


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@pytest.fixture
def files(tmp_path: Path, authority: Authority) -> Issued:
    """The files that the gateway reads."""
    issued = authority.issue("first")
    return Issued(shutil.copy(issued.certificate, tmp_path / "tls.crt"), shutil.copy(issued.key, tmp_path / "tls.key"))


def check(certificates: Certificates, times: int = 3) -> None:
    """Check the files as often as it takes."""
    for _ in range(times):
        asyncio.run(certificates.refresh())


def test_a_new_certificate_is_used(files: Issued, authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    certificates = Certificates(*files)
    before = certificates.current
    check(certificates)
    assert certificates.current is before
    second = authority.issue("second")
    shutil.copy(second.certificate, files.certificate)
    shutil.copy(second.key, files.key)
    check(certificates)
    assert certificates.current.certificate == Path(second.certificate).read_bytes()
    assert certificates.current.key == Path(second.key).read_bytes()
    assert certificates.current.context is not before.context
    assert [record.getMessage() for record in caplog.records] == [
        f"Read the TLS certificate {files.certificate} again; new connections use it"
    ]


def test_files_are_not_read_while_they_are_exchanged(
    files: Issued, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    certificates = Certificates(*files)
    second = authority.issue("second")
    shutil.copy(second.certificate, files.certificate)
    check(certificates, 1)
    shutil.copy(second.key, files.key)
    check(certificates)
    assert certificates.current.key == Path(second.key).read_bytes()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_an_invalid_certificate_is_an_error_and_the_old_one_stays(
    files: Issued, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    certificates = Certificates(*files)
    before, key = certificates.current, Path(files.key).read_bytes()
    second = authority.issue("second")
    for spoil, words in (
        (lambda: shutil.copy(second.certificate, files.certificate), "does not belong to the certificate"),
        (lambda: Path(files.certificate).write_text("nonsense"), "must be a PEM certificate"),
        (lambda: os.unlink(files.key), "No such file"),
    ):
        caplog.clear()
        spoil()
        check(certificates, 5)
        [record] = caplog.records
        assert record.levelno == logging.ERROR
        assert words in record.getMessage()
        assert "the one read before stays in use" in record.getMessage()
        assert certificates.current is before
        assert certificates.problem is not None
    shutil.copy(second.certificate, files.certificate)
    shutil.copy(second.key, files.key)
    check(certificates)
    assert certificates.problem is None
    assert certificates.current.key == Path(second.key).read_bytes() != key


def test_other_authorities_of_clients_are_used(tmp_path: Path, files: Issued, authority: Authority) -> None:
    other, bundle = Authority(tmp_path, "other"), tmp_path / "clients.pem"
    shutil.copy(authority.bundle, bundle)
    certificates = Certificates(*files, str(bundle))

    def trusted() -> set[str]:
        names = [dict(name for (name,) in found["issuer"]) for found in certificates.current.context.get_ca_certs()]
        return {name["commonName"] for name in names}

    assert trusted() == {"authority"}
    shutil.copy(other.bundle, bundle)
    check(certificates)
    # The old one is no longer trusted.
    assert trusted() == {"other"}
