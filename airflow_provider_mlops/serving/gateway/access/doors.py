"""The doors of all paths but the prediction paths: which right each needs. A path that is not listed here is closed."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from airflow_provider_mlops.serving.gateway.access.access import Access
from airflow_provider_mlops.serving.gateway.access.keys import Right
from airflow_provider_mlops.serving.protocols.routes import PREDICT_PATHS

CALLER = "mlops.caller"
"""Name in an ASGI scope of the `Caller` that was let in."""

PROBES = frozenset({"/v2/health/live", "/v2/health/ready", "/ping", "/health"})
METRICS = frozenset({"/metrics"})
EXEMPTIONS = {"probes": PROBES, "metrics": METRICS}
"""Paths that may be opened with `--without-key`."""

PAGES = frozenset({"/", "/docs"})
"""The pages for people. They contain nothing about the models, and ask for a key before they request anything."""

_ANY_RIGHT = frozenset(
    {
        "/v2",
        "/v2/",
        "/v2/models",
        "/v2/models/stats",
        "/v2/models/{name}/stats",
        "/v2/models/{name}/versions/{version}/stats",
        "/v2/repository/index",
        "/version",
        "/api/2.0/endpoints",
        "/api/2.0/endpoints/",
        "/api/2.0/endpoints/{name}",
        "/v2/models/{name}",
        "/v2/models/{name}/ready",
        "/v2/models/{name}/versions/{version}",
        "/v2/models/{name}/versions/{version}/ready",
        "/openapi.json",
        *PROBES,
    }
)
_ADMINISTRATION: Right = "administration"
_ALL_MODELS = frozenset({"/admin/compact"})
"""Paths that need the right for all models. Other paths without a model list those that the key is for."""
_OWN_DOOR = frozenset(path.template for path in PREDICT_PATHS)


def right_of(path: str) -> Right | None:
    """Return the right that a path needs; None if any key will do.

    >>> right_of("/feedback"), right_of("/v2"), right_of("/new/path")
    ('feedback', None, 'administration')
    """
    if path in _ANY_RIGHT:
        return None
    if path in METRICS:
        return "monitoring"
    return "feedback" if path == "/feedback" else _ADMINISTRATION


def guard(routes: Sequence[Route], access: Access, exempt: Sequence[str] = ()) -> Sequence[Route]:
    """Put the door before each route and return the routes.

    Prediction paths are left alone, because `PredictEndpoint` authorizes their requests itself, also on its fast path.

    Parameters
    ----------
    exempt
        Names of `EXEMPTIONS`.
    """
    opened = frozenset[str]().union(*(EXEMPTIONS[name] for name in exempt))
    for route in routes:
        if route.path not in _OWN_DOOR | PAGES | opened:
            route.app = _Guarded(route.app, access, right_of(route.path))
    return routes


class _Guarded:
    """An application behind a door."""

    def __init__(self, app: ASGIApp, access: Access, right: Right | None) -> None:
        self._app = app
        self._access = access
        self._right = right

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        model = scope["path_params"].get("name")
        caller = self._access.authorize(scope["headers"], self._right, model, address_of(scope))
        if scope["path"] in _ALL_MODELS:
            self._access.check_all_models(caller, _ADMINISTRATION)
        scope[CALLER] = caller
        await self._app(scope, receive, send)


def address_of(scope: Scope) -> str | None:
    """Return the address of the client that sent a request."""
    client = scope.get("client")
    return client[0] if client else None
