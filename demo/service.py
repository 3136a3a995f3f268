"""One server that a demo or a test starts, waits for and stops."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

from demo.home import Home, end_sessions


class ServiceError(Exception):
    """A server did not come up, or went away."""


def free_port() -> int:
    """A port of the loopback interface that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Service:
    """A server process in a session of its own, with its output in a log file."""

    def __init__(
        self, name: str, command: Sequence[str], *, environment: Mapping[str, str], log: Path, ready_url: str
    ) -> None:
        self.name = name
        self.log = log
        self.ready_url = ready_url
        self._command = list(command)
        self.environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, home: Home) -> None:
        """Start the process; `wait` waits until it answers."""
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
        raise ServiceError(f"{self.name} is not up. The end of {self.log}:\n{self.tail()}")

    def is_ready(self) -> bool:
        """Whether the server answers its readiness address with a success."""
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
        """The id of the process, which is also its session's."""
        assert self._process is not None
        return self._process.pid

    def tail(self, lines: int = 40) -> str:
        """The last lines of the log."""
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
