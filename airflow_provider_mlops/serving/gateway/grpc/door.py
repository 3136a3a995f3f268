"""The door of the gRPC port: the same keys, rights and limits as over HTTP."""

from __future__ import annotations

from typing import TypeAlias
from urllib.parse import unquote

import grpc

from airflow_provider_mlops.serving.gateway.access.access import Access, Caller
from airflow_provider_mlops.serving.gateway.access.keys import Right
from airflow_provider_mlops.serving.gateway.settings import Settings

Context: TypeAlias = grpc.aio.ServicerContext

_ADMINISTRATION: Right = "administration"
_RIGHTS: dict[str, Right | None] = {
    "ServerLive": None,
    "ServerReady": None,
    "ModelReady": None,
    "ServerMetadata": None,
    "ModelMetadata": None,
    "ModelStatistics": None,
    "RepositoryIndex": None,
}
"""The right that each method needs; None if any key will do. A method that is not listed needs `administration`.

`ModelInfer` is not here, because `PredictEndpoint` authorizes predictions.
"""

_PROBES = frozenset({"ServerLive", "ServerReady"})


class GrpcDoor:
    """Lets calls in.

    Parameters
    ----------
    access
        Who may do what.
    settings
        Say whether probes need a key.
    """

    def __init__(self, access: Access, settings: Settings) -> None:
        self._access = access
        self._open = _PROBES if "probes" in settings.without_key else frozenset[str]()

    def authorize(self, method: str, model: str | None, context: Context) -> Caller:
        """Let a call in, or raise RequestError as `Access.authorize` does.

        Parameters
        ----------
        model
            The model that the call concerns, if it names one.
        """
        if method in self._open:
            return Caller()
        right = _RIGHTS.get(method, _ADMINISTRATION)
        return self._access.authorize(pairs(context), right, model or None, address(context))


def pairs(context: Context) -> list[tuple[bytes, bytes]]:
    """Return the metadata of a call in the form of HTTP headers."""
    return [
        (key.encode("latin-1"), value if isinstance(value, bytes) else value.encode("latin-1", "replace"))
        for key, value in context.invocation_metadata() or ()
    ]


def address(context: Context) -> str | None:
    """Return the address of the client."""
    return parse_peer(context.peer())


def parse_peer(peer: str) -> str | None:
    """Return the address in what gRPC calls a peer.

    Examples
    --------
    >>> parse_peer("ipv4:10.0.0.7:51123"), parse_peer("ipv6:%5B::1%5D:51123"), parse_peer("unix:")
    ('10.0.0.7', '::1', None)
    """
    kind, _, rest = unquote(peer).partition(":")
    if kind not in ("ipv4", "ipv6"):
        return None
    return rest.rpartition(":")[0].strip("[]") or None
