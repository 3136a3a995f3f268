"""Clients in a process of their own that ask and give feedback, and note what they were told.

    python -m tests.serving.load_process URL FILE CLIENTS MAXIMUM

Each client has one connection that it keeps. FILE gets a line of JSON for each thing that happened: `["answered", id]`,
`["rewarded", id]`, or `["failed", second, what]`. It ends when its standard input is closed, or after MAXIMUM requests
of each client.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.serving.served_registry import CANCER

BODY = json.dumps({"instances": CANCER.head(1).to_numpy().tolist()})
HEADERS = {"Content-Type": "application/json"}


class LoadProcess:
    """The process, as a test sees it."""

    def __init__(self, url: str, file: Path, clients: int = 6, maximum: int = 20_000) -> None:
        self._file = file
        command = [sys.executable, "-m", "tests.serving.load_process", url, str(file), str(clients), str(maximum)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE)
        until = time.monotonic() + 60
        while not self.answered() and time.monotonic() < until:
            time.sleep(0.05)

    def stop(self) -> None:
        """Let each client end what it is at."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(60) == 0

    def kill(self) -> None:
        """End it whatever it is at."""
        self.process.kill()
        self.process.wait(10)

    def answered(self) -> list[str]:
        """The ids of the predictions that were answered."""
        return [line[1] for line in self._lines() if line[0] == "answered"]

    def rewarded(self) -> list[str]:
        """The ids of the predictions whose reward was acknowledged."""
        return [line[1] for line in self._lines() if line[0] == "rewarded"]

    def failures(self) -> Counter[str]:
        """What failed, and how often."""
        return Counter(line[2] for line in self._lines() if line[0] == "failed")

    def _lines(self) -> list[list[Any]]:
        if not self._file.exists():
            return []
        text = self._file.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def client(url: str, maximum: int, note: Callable[..., None], stopped: threading.Event) -> None:
    """Ask, and reward every other answer."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=20)

    def post(path: str, body: str) -> http.client.HTTPResponse | None:
        try:
            connection.request("POST", path, body, HEADERS)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            note("failed", time.time(), type(error).__name__)
            connection.close()
            time.sleep(0.05)
            return None
        if answer.status != 200:
            note("failed", time.time(), f"{answer.status} {content[:200].decode()}")
            return None
        return answer

    for number in range(maximum):
        if stopped.is_set():
            break
        answer = post("/models/cancer/invocations", BODY)
        if answer is not None:
            name = answer.headers["x-prediction-id"]
            note("answered", name)
            if number % 2 and post("/feedback", json.dumps({"prediction_id": name, "reward": number % 4 // 2})):
                note("rewarded", name)
    connection.close()


def main(url: str, path: str, clients: str, maximum: str) -> None:
    """The process."""
    stopped, guard = threading.Event(), threading.Lock()
    with open(path, "w", encoding="utf-8") as file:

        def note(*what: object) -> None:
            with guard:
                file.write(json.dumps(what) + "\n")
                file.flush()

        threads = [
            threading.Thread(target=client, args=(url, int(maximum), note, stopped)) for _ in range(int(clients))
        ]
        for thread in threads:
            thread.start()
        sys.stdin.read()
        stopped.set()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
