"""A handler that does nothing, on the same ASGI stack as the gateway: uvicorn with uvloop and httptools.

It reads the body and answers with two bytes. `bare` is nothing but ASGI, `starlette` a route of Starlette.

    python benchmarks/serving_empty.py bare|starlette PORT
"""

from __future__ import annotations

import sys
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"2")]


async def bare(scope: Any, receive: Any, send: Any) -> None:
    """The least that an ASGI application can do with a request that has a body."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": b"{}"})


async def empty(request: Request) -> Response:
    """The same as a route."""
    await request.body()
    return Response(b"{}", media_type="application/json")


def main() -> None:
    """The command line."""
    app = bare if sys.argv[1] == "bare" else Starlette(routes=[Route("/{path:path}", empty, methods=["POST"])])
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[2]),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=75,
    )


if __name__ == "__main__":
    main()
