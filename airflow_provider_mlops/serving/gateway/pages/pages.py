"""Serves the pages. Style and script are part of the HTML, and the policy lets nothing else run or be loaded."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_PACKAGE = "airflow_provider_mlops.serving.gateway.pages"


def routes() -> list[Route]:
    """Return the routes of both pages."""
    return [_route("/", "home"), _route("/docs", "docs")]


def _route(path: str, name: str) -> Route:
    html, headers = _page(name)

    async def respond(request: Request) -> Response:
        return Response(html, headers=headers, media_type="text/html")

    return Route(path, respond, methods=["GET"], name=name)


def _page(name: str) -> tuple[str, dict[str, str]]:
    """Return the HTML of a page and its headers."""
    style = _read("page.css")
    script = _read("shared.js") + _read(f"{name}.js")
    html = _read(f"{name}.html").replace("/* style */", style).replace("/* script */", script)
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src {_hash(script)}",
            f"style-src {_hash(style)}",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )
    return html, {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }


def _read(name: str) -> str:
    return resources.files(_PACKAGE).joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Return the source of an inline script or style in a content security policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
