"""`airflow-mlops traffic` in a process of its own, as a load of which is known what it was told."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests.helpers.serving.served_registry import CANCER

RATE = 2000
"""More requests/s than come about here: each client sends its next request when it has the answer to the one before."""


class TrafficProcess:
    """Requests for `cancer`, with rewards for half of them, until it is stopped or killed.

    :param clients: how many connections ask.
    :param requests: how many requests there are at most.
    """

    def __init__(self, url: str, directory: Path, clients: int, requests: int = 100_000) -> None:
        directory.mkdir()
        rows = directory / "rows.parquet"
        CANCER.head(64).assign(reward=[0, 1] * 32).to_parquet(rows)
        self._record, self._summary = directory / "record.jsonl", directory / "summary.json"
        command = [
            sys.executable,
            "-m",
            "airflow_provider_mlops.cli",
            "traffic",
            str(rows),
            "cancer",
            "--gateway",
            url,
        ]
        command += ["--rate", str(RATE), "--clients", str(clients), "--requests", str(requests), "--repeat"]
        command += ["--reward", "reward", "--label-share", "0.5"]
        command += ["--record", str(self._record), "--json", str(self._summary)]
        with (directory / "log").open("wb") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=file)
        until = time.monotonic() + 60
        while not self.answered():
            if self.process.poll() is not None or time.monotonic() > until:
                raise AssertionError((directory / "log").read_text())
            time.sleep(0.05)

    def stop(self) -> None:
        """Let each client end what it is at; then its summary must say what the record says."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(60) == 130
        told = json.loads(self._summary.read_text())
        assert told["stopped"]
        assert told["answered"] == len(self.answered())
        assert told["labels"]["acknowledged"] == len(self.rewarded())
        assert sum(told["refused"].values()) + sum(told["failed"].values()) == self.failures().total()

    def kill(self) -> None:
        """End it whatever it is at."""
        self.process.kill()
        self.process.wait(10)

    def answered(self) -> list[str]:
        """The ids of the predictions that were answered."""
        return [line["answered"] for line in self._lines() if "answered" in line]

    def rewarded(self) -> list[str]:
        """The ids of the predictions whose reward was acknowledged."""
        return [name for line in self._lines() for name in line.get("acknowledged", ())]

    def failures(self) -> Counter[str]:
        """What failed, and how often."""
        kinds = ("refused", "failed")
        return Counter(f"{kind} {line[kind]}" for line in self._lines() for kind in kinds if kind in line)

    def _lines(self) -> list[dict[str, Any]]:
        if not self._record.exists():
            return []
        text = self._record.read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
