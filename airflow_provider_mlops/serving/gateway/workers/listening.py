"""The log message that says where a gateway listens, and the function that finds the URL in a log.

Programs that start a gateway with `--port 0` wait for this message to learn its port. They should use `find_url`.
"""

from __future__ import annotations

import logging
import re

from airflow_provider_mlops.serving.gateway.settings import Settings

_MESSAGE = "Listening on {url} (storage: {storage}, workers: {workers})"
_GRPC_MESSAGE = "Listening for gRPC on {address}"
_GRPC_PATTERN = re.compile(_GRPC_MESSAGE.partition("{address}")[0] + r"(\S+)")
_PATTERN = re.compile(_MESSAGE.partition("{url}")[0] + r"(https?://\S+)")


def log_listening(log: logging.Logger, settings: Settings, port: int, workers: int = 1) -> None:
    """Log that a gateway listens on an address, and on another port for gRPC if it has one."""
    address = f"[{settings.host}]" if ":" in settings.host else settings.host
    if settings.grpc_port is not None:
        log.info(_GRPC_MESSAGE.format(address=f"{address}:{settings.grpc_port}"))
    scheme = "http" if settings.tls_certificate is None else "https"
    log.info(_MESSAGE.format(url=f"{scheme}://{address}:{port}", storage=settings.storage_uri, workers=workers))


def find_url(text: str) -> str | None:
    """Return the URL of the gateway that wrote a log; None if it does not listen yet.

    Examples
    --------
    >>> find_url("INFO server: Listening on http://127.0.0.1:8710 (storage: /mlops, workers: 2)")
    'http://127.0.0.1:8710'
    >>> find_url("INFO server: loading") is None
    True
    """
    match = _PATTERN.search(text)
    return match[1] if match else None


def find_grpc_address(text: str) -> str | None:
    """Return the address of the gRPC port of the gateway that wrote a log; None if it has none.

    Examples
    --------
    >>> find_grpc_address("INFO server: Listening for gRPC on 127.0.0.1:8711")
    '127.0.0.1:8711'
    """
    match = _GRPC_PATTERN.search(text)
    return match[1] if match else None
