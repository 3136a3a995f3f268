"""TLS: the certificate of the gateway and, for mutual TLS, the authority that signs the certificates of clients."""

from __future__ import annotations

import ssl
from typing import TypedDict

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.serving.gateway.settings import Settings


class TlsOptions(TypedDict, total=False):
    """Options of `uvicorn.Config`."""

    ssl_certfile: str
    ssl_keyfile: str
    ssl_ca_certs: str
    ssl_cert_reqs: int


def tls_options(settings: Settings) -> TlsOptions:
    """Return uvicorn's options for TLS; none if there is no certificate.

    Raises InvalidSpecError if a file is missing, not readable or not valid, or if key and certificate do not match.
    """
    certificate, key, client_ca = settings.tls_certificate, settings.tls_key, settings.tls_client_ca
    if certificate is None:
        for name, value in (("tls_key", key), ("tls_client_ca", client_ca)):
            if value is not None:
                raise InvalidSpecError(name, value, "it needs a certificate as well. Set --tls-certificate")
        return {}
    if key is None:
        raise InvalidSpecError("tls_key", None, "it is required with --tls-certificate. Set --tls-key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _check_readable("tls_certificate", certificate)
    _check_readable("tls_key", key)
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise _not_usable(certificate, key, error) from None
    if client_ca is None:
        return {"ssl_certfile": certificate, "ssl_keyfile": key}
    _check_readable("tls_client_ca", client_ca)
    try:
        context.load_verify_locations(client_ca)
    except (ssl.SSLError, OSError) as error:
        hint = f"it must be a file with PEM certificates ({_reason(error)})"
        raise InvalidSpecError("tls_client_ca", client_ca, hint) from None
    return {
        "ssl_certfile": certificate,
        "ssl_keyfile": key,
        "ssl_ca_certs": client_ca,
        "ssl_cert_reqs": ssl.CERT_REQUIRED,
    }


def _check_readable(field: str, path: str) -> None:
    try:
        with open(path, "rb"):
            return
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
