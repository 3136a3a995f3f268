"""TLS: the certificate of the gateway and, for mutual TLS, the authorities that sign the certificates of clients."""

from __future__ import annotations

import logging
import os
import ssl
from dataclasses import dataclass

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.serving.gateway.settings import Settings

log = logging.getLogger(__name__)

REFRESH_SECONDS = 1.0
"""Seconds between checks of the files."""

_Stamp = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class TlsCredentials:
    """What the files contained when they were read.

    Parameters
    ----------
    context
        Context for new connections over HTTP.
    certificate, key, client_ca
        The files in PEM, for gRPC.
    """

    context: ssl.SSLContext
    certificate: bytes
    key: bytes
    client_ca: bytes | None


class Certificates:
    """The certificate of one gateway process. Its files are read again when they change.

    New connections use the new certificate; open ones keep the old one. Raises InvalidSpecError if a file is missing,
    not readable or not valid, or if key and certificate do not match.

    Parameters
    ----------
    certificate, key, client_ca
        Paths of the files.

    Attributes
    ----------
    current
        The last valid content. Safe to read from any thread.
    problem
        Why the present files cannot be used; None if they can.
    """

    def __init__(self, certificate: str, key: str, client_ca: str | None = None) -> None:
        self._certificate, self._key, self._client_ca = certificate, key, client_ca
        self.current = self._read()
        self._stamp = self._seen = self._stamps()
        self.problem: str | None = None

    async def refresh(self) -> None:
        """Read the files again if they have changed. If they are not valid, the last valid ones stay in use.

        The files are exchanged one after the other. They are therefore read when none of them has changed since the
        check before.
        """
        try:
            stamp = self._stamps()
            if stamp == self._stamp:
                return
            if stamp != self._seen:
                self._seen = stamp
                return
            current = self._read()
            if self._stamps() != stamp:
                return
        except (InvalidSpecError, OSError) as error:
            problem = f"the new TLS certificate cannot be used, and the one read before stays in use: {error}"
            problem = problem.rstrip(".")
            if problem != self.problem:
                log.error("%s%s. Repair the files", problem[0].upper(), problem[1:])
            self.problem = problem
            return
        self._stamp, self.current, self.problem = stamp, current, None
        log.info("Read the TLS certificate %s again; new connections use it", self._certificate)

    def _stamps(self) -> _Stamp:
        """Return what changes when a file is written or replaced, behind a symbolic link too."""
        paths = [path for path in (self._certificate, self._key, self._client_ca) if path is not None]
        found = [os.stat(path) for path in paths]
        return tuple((status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev) for status in found)

    def _read(self) -> TlsCredentials:
        certificate = _content("tls_certificate", self._certificate)
        key = _content("tls_key", self._key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self._certificate, self._key, password=_no_password)
        except (ssl.SSLError, OSError, ValueError) as error:
            raise _not_usable(self._certificate, self._key, error) from None
        if self._client_ca is None:
            return TlsCredentials(context, certificate, key, None)
        client_ca = _content("tls_client_ca", self._client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(self._client_ca)
        except (ssl.SSLError, OSError) as error:
            hint = f"it must be a file with PEM certificates ({_reason(error)})"
            raise InvalidSpecError("tls_client_ca", self._client_ca, hint) from None
        return TlsCredentials(context, certificate, key, client_ca)


def open_certificates(settings: Settings) -> Certificates | None:
    """Return the certificates that the settings name; None without TLS.

    Raises InvalidSpecError if an option is missing, or as `Certificates` does.
    """
    certificate, key, client_ca = settings.tls_certificate, settings.tls_key, settings.tls_client_ca
    if certificate is None:
        for name, value in (("tls_key", key), ("tls_client_ca", client_ca)):
            if value is not None:
                raise InvalidSpecError(name, value, "it needs a certificate as well. Set --tls-certificate")
        return None
    if key is None:
        raise InvalidSpecError("tls_key", None, "it is required with --tls-certificate. Set --tls-key")
    return Certificates(certificate, key, client_ca)


def _content(field: str, path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise InvalidSpecError(field, path, f"the file cannot be read ({error.strerror})") from None


def _no_password() -> str:
    raise ValueError("the key is encrypted")


def _not_usable(certificate: str, key: str, error: Exception) -> InvalidSpecError:
    if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
        return InvalidSpecError("tls_key", key, f"it does not belong to the certificate {certificate}")
    if isinstance(error, ValueError) and not isinstance(error, ssl.SSLError):
        return InvalidSpecError("tls_key", key, "it must not be encrypted. Decrypt it, and protect the file instead")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(certificate)
    except (ssl.SSLError, OSError) as problem:
        return InvalidSpecError("tls_certificate", certificate, f"it must be a PEM certificate ({_reason(problem)})")
    return InvalidSpecError("tls_key", key, f"it must be the PEM key of {certificate} ({_reason(error)})")


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    return str(reason or error).replace("_", " ").lower()
