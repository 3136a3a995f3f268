"""One process that a demo or a test starts, waits for and stops."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

from demo.home import Home
from demo.sessions import end_sessions


class ServiceError(Exception):
    """A server did not start, or stopped."""


def free_port(preferred: int = 0) -> int:
    """Return the preferred port of the loopback interface, or any free one if that is in use."""
    for port in (preferred, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ServiceError("No port of 127.0.0.1 is free.")


class Service:
    """A process in its own session, with its output in a log file. Without a `ready_url` it is ready at once."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        log: Path,
        ready_url: str | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self.ready_url = ready_url
        self.environment = dict(environment)
        self._command = list(command)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, home: Home) -> None:
        """Start the process. Call `wait` before you use it."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as output:
            self._process = subprocess.Popen(
                self._command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        home.remember(self._process.pid)

    def wait(self, seconds: float) -> None:
        """Return when the server answers. Raises ServiceError with the end of its log."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.is_ready():
                return
            if not self.alive:
                break
            time.sleep(0.2)
        raise ServiceError(f"{self.name} did not start within {seconds:.0f} s. The end of {self.log}:\n{self.tail()}")

    def is_ready(self) -> bool:
        """Return whether the server answers its readiness URL with a success."""
        if self.ready_url is None:
            return self.alive
        try:
            return httpx.get(self.ready_url, timeout=5).is_success
        except httpx.HTTPError:
            return False

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def started(self) -> bool:
        """Whether `start` was called, and `stop` not since."""
        return self._process is not None

    @property
    def pid(self) -> int:
        """The id of the process, which is also that of its session."""
        assert self._process is not None
        return self._process.pid

    def tail(self, lines: int = 40) -> str:
        """Return the last lines of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def stop(self) -> None:
        """End the process and all that it started."""
        stop_all([self])

    def _forget(self) -> None:
        if self._process is not None:
            self._process.wait()
            self._process = None


def stop_all(services: Sequence[Service]) -> None:
    """End the processes of all services at once, and all that they started."""
    end_sessions([service.pid for service in services if service.started], grace=10.0)
    for service in services:
        service._forget()
