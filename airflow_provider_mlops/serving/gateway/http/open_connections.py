"""The number of connections of a process, which is bounded from the moment a connection is accepted."""

from __future__ import annotations

from collections.abc import Callable


class OpenConnections:
    """The connections of one process. Its methods run on the event loop.

    A connection is silent until the headers of its first request have arrived; with TLS, also during the handshake. If
    there are too many connections, the one that has been silent longest is closed for a new one: clients send their
    request right after they have connected, so that connections which are only held open do not keep them out.

    Parameters
    ----------
    maximum
        Maximum number of connections; None for any number.

    Examples
    --------
    >>> closed = []
    >>> connections = OpenConnections(maximum=2)
    >>> [connections.enter(name, lambda name=name: closed.append(name)) for name in ("first", "second")]
    [True, True]
    >>> connections.has_spoken("first")
    >>> connections.enter("third", lambda: closed.append("third")), closed
    (True, ['second'])
    >>> connections.has_spoken("third")
    >>> connections.enter("fourth", lambda: None), len(connections)
    (False, 2)
    """

    def __init__(self, maximum: int | None = None) -> None:
        self.maximum = maximum
        self._all: set[object] = set()
        # In the order in which they were accepted.
        self._silent: dict[object, Callable[[], object]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def enter(self, connection: object, close: Callable[[], object]) -> bool:
        """Count a connection. Returns False if there are too many, and none of them is silent.

        A connection that was counted is not counted again, but is closed by the new function from now on.

        Parameters
        ----------
        close
            Closes the connection.
        """
        if connection not in self._all:
            if self.maximum is not None and len(self._all) >= self.maximum and not self._close_silent():
                return False
            self._all.add(connection)
        self._silent[connection] = close
        return True

    def has_spoken(self, connection: object) -> None:
        """Note that a request has arrived on a connection."""
        self._silent.pop(connection, None)

    def leave(self, connection: object) -> None:
        """Forget a connection that was closed."""
        self._all.discard(connection)
        self._silent.pop(connection, None)

    def _close_silent(self) -> bool:
        oldest = next(iter(self._silent), None)
        if oldest is None:
            return False
        close = self._silent[oldest]
        # Its place is free at once; the end of the connection is noticed later.
        self.leave(oldest)
        close()
        return True
