"""The log message that says where a gateway listens, and the function that finds the URL in a log.

Programs that start a gateway with `--port 0` wait for this message to learn its port. They should use `find_url`.
"""

from __future__ import annotations

import logging
import re

from airflow_provider_mlops.serving.gateway.settings import Settings

_MESSAGE = "Listening on {url} (storage: {storage}, workers: {workers})"
_PATTERN = re.compile(_MESSAGE.partition("{url}")[0] + r"(https?://\S+)")


def log_listening(log: logging.Logger, settings: Settings, port: int, workers: int = 1) -> None:
    """Log that a gateway listens on an address."""
    address = f"[{settings.host}]" if ":" in settings.host else settings.host
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
