"""The sockets on which a gateway listens, and how many connections a process may have."""

from __future__ import annotations

import resource
import socket

from airflow_provider_mlops.errors import InvalidSpecError

BACKLOG = 2048
"""Number of connections that wait until a process accepts them."""
_MAX_FILES = 65_536
_MAX_CONNECTIONS = 32_768
_OTHER_FILES = 128


def bind(host: str, port: int, *, shared: bool = False, name: str = "port") -> socket.socket:
    """Return a bound socket that does not listen yet. Several sockets can be `shared`.

    Raises InvalidSpecError, with the name of the option.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise InvalidSpecError(
            name, port, f"it must be free on {host}, but binding failed: {error}. Use another port"
        ) from error
    return listener


def reserve(host: str, port: int, name: str) -> socket.socket:
    """Return a bound socket that keeps a port for the workers, which bind it as well. Raises InvalidSpecError."""
    # A shared socket could also be bound to a port that another gateway shares.
    with bind(host, port, name=name) as free:
        port = free.getsockname()[1]
    return bind(host, port, shared=True, name=name)


def max_connections() -> int:
    """Raise the limit of open files as far as allowed, and return how many of them may be connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < hard:
        wanted = _MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_FILES)
        if wanted > soft:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    files = _MAX_FILES if soft == resource.RLIM_INFINITY else soft
    # The rest is for logs, the rollout store, MLflow and models.
    return max(16, min(_MAX_CONNECTIONS, files - max(_OTHER_FILES, files // 4)))
