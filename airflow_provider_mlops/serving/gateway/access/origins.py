"""Web pages of other origins: an allow-list (CORS), and protection of gateways that need no key."""

from __future__ import annotations

import re
from collections.abc import Iterable

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.serving.gateway.access.addresses import is_loopback_name
from airflow_provider_mlops.serving.protocols.headers import JSON_LENGTH_HEADER
from airflow_provider_mlops.serving.rows.request_error import RequestError

_ORIGIN = re.compile(r"https?://(?:\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::[0-9]{1,5})?")
_HOST = re.compile(r"(?:\[(?P<v6>[^\]]*)\]|(?P<name>[^:\[\]]+))(?::[0-9]+)?")
_REQUEST_HEADERS = ("Authorization", "Content-Type", "Content-Encoding", "Accept-Encoding", JSON_LENGTH_HEADER)
_RESPONSE_HEADERS = ("X-Prediction-Id", "X-Model-Version", "Retry-After", "WWW-Authenticate", JSON_LENGTH_HEADER)
_MAX_AGE_SECONDS = 600


def allow_origins(app: ASGIApp, origins: Iterable[str]) -> ASGIApp:
    """Return an application that lets web pages of these origins use `app`.

    Keys travel in a header that the page sets itself. Cookies have no meaning here and are never allowed.
    """
    return CORSMiddleware(
        app,
        allow_origins=tuple(origins),
        allow_methods=("GET", "POST"),
        allow_headers=_REQUEST_HEADERS,
        expose_headers=_RESPONSE_HEADERS,
        max_age=_MAX_AGE_SECONDS,
    )


def check_origins(origins: Iterable[str]) -> None:
    """Check the allow-list. Raises InvalidSpecError."""
    for origin in origins:
        if _ORIGIN.fullmatch(origin) is None:
            hint = "it must be an origin in lower case without a path, such as https://app.example.com. List each one"
            raise InvalidSpecError("cors_origin", origin, hint)


def check_origin(origin: bytes, headers: Iterable[tuple[bytes, bytes]], allowed: frozenset[str]) -> None:
    """Check the page that sends a request without a key. Raises RequestError (403).

    A browser sends simple requests of any page to any address that its user can reach, such as a gateway on the user's
    own machine, and only hides the response from the page. The gateway's own pages are allowed, by the name of this
    machine: the owner of any other name can let it point here.
    """
    text = origin.decode("latin-1")
    host = next((value.decode("latin-1") for name, value in headers if name == b"host"), "")
    own = _HOST.fullmatch(host)
    if text in allowed or (own and text.partition("://")[2] == host and is_loopback_name(own["v6"] or own["name"])):
        return
    raise RequestError(
        403,
        "Web pages of this origin may not use the gateway without a key. An operator can allow the origin with "
        "--cors-origin.",
        "Origin",
    )
