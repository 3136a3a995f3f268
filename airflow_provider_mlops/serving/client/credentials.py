"""The key that a caller sends to the gateway, and the certificates by which they recognize each other."""

from __future__ import annotations

import os
import ssl

from pydantic import BaseModel, ConfigDict, Field

from airflow_provider_mlops.errors import InvalidSpecError

KEY_VARIABLE = "AIRFLOW_MLOPS_GATEWAY_KEY"
"""Environment variable with a key: the one that a gateway accepts, or the one that a command sends."""


class ClientTls(BaseModel):
    """Files with which a caller checks the gateway's certificate, and shows one of its own.

    Examples
    --------
    >>> ClientTls().context() is None
    True
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    ca_bundle: str | None = Field(
        default=None,
        description="PEM file with the authorities to trust, instead of the usual ones.",
    )
    certificate: str | None = Field(default=None, description="PEM certificate of the caller, for mutual TLS.")
    certificate_key: str | None = Field(
        default=None, description="PEM key of that certificate; None if it is in the same file."
    )

    def context(self) -> ssl.SSLContext | None:
        """Return the TLS context; None if the usual one will do. Raises InvalidSpecError if a file cannot be used."""
        if not (self.ca_bundle or self.certificate or self.certificate_key):
            return None
        if self.certificate_key and not self.certificate:
            raise InvalidSpecError("certificate", None, "it is required with certificate_key")
        try:
            context = ssl.create_default_context(cafile=self.ca_bundle)
        except (OSError, ssl.SSLError) as error:
            raise InvalidSpecError(
                "ca_bundle", self.ca_bundle, f"it must be a readable file with PEM certificates ({_reason(error)})"
            ) from None
        if self.certificate:
            try:
                context.load_cert_chain(self.certificate, self.certificate_key, password=_no_password)
            except (OSError, ssl.SSLError, ValueError) as error:
                raise InvalidSpecError(
                    "certificate",
                    self.certificate,
                    f"it must be a readable PEM certificate with its unencrypted key ({_reason(error)})",
                ) from None
        return context


def authorization(key: str) -> str:
    """Return the value of the Authorization header. Raises InvalidSpecError, which does not show the key.

    >>> authorization("mlops_abc")
    'Bearer mlops_abc'
    """
    key = key.strip()
    if not (key.isascii() and key.isprintable() and " " not in key and key):
        raise InvalidSpecError(
            "key", "a key", "it must have printable ASCII characters only, without spaces. Copy it again"
        )
    return f"Bearer {key}"


def find_key(key_file: str | None = None) -> str | None:
    """Return the key in a file or, without a file, the one in the environment; None if there is none.

    Raises InvalidSpecError if the file cannot be read or is empty.
    """
    if key_file is None:
        return os.environ.get(KEY_VARIABLE, "").strip() or None
    try:
        with open(key_file, encoding="utf-8") as file:
            key = file.read(4096).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSpecError("key_file", key_file, f"the file cannot be read ({_reason(error)})") from None
    if not key:
        raise InvalidSpecError("key_file", key_file, "the file is empty. Save the key in it")
    return key


def certificate_problem(error: BaseException | None) -> str | None:
    """Return what is wrong with the certificate of one side, if a request failed for that; a retry cannot help then."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"the certificate of the gateway is not trusted ({error.verify_message})"
        if isinstance(error, ssl.SSLError) and "ALERT" in str(error.reason):
            return f"the gateway refuses the certificate of this client ({_reason(error)})"
        if isinstance(error, ssl.SSLError) and error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
            return "the server there does not use TLS"
        error = error.__cause__ or error.__context__
    return None


def _no_password() -> str:
    raise ValueError("the key is encrypted")


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return str(error.reason or error).replace("_", " ").lower()
    return (error.strerror if isinstance(error, OSError) and error.strerror else str(error)) or type(error).__name__
