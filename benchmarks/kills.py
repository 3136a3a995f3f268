"""What does a gateway lose if its processes are killed at random moments?

Clients send rows whose predictions are known, and labels, to a gateway with two workers. In each round, a random
process of the gateway (the supervisor, a worker or the trial of a version) gets SIGKILL after a random time. In the
end, the prediction log is compared with what the clients were told.

    python -m benchmarks.kills --rounds 20 --seed 0
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from airflow_provider_mlops.data.task_identity import TaskIdentity
from airflow_provider_mlops.registry import registration
from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.run import open_run
from airflow_provider_mlops.registry.settings import RegistrySettings
from airflow_provider_mlops.serving.gateway.workers import listening
from airflow_provider_mlops.serving.log import prediction_log

MODEL = "cancer"
_REQUESTS_PER_CONNECTION = 20
_PATIENCE = 600.0
"""How long a gateway may take to start on a busy machine, in seconds."""


@dataclass
class Outcome:
    """The counts of one run; the first four must be zero."""

    lost_predictions: int = 0
    lost_labels: int = 0
    wrong_answers: int = 0
    logged_twice: int = 0
    answered: int = 0
    labels: int = 0
    failed_connections: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    killed: dict[str, int] = field(default_factory=dict)

    @property
    def is_clean(self) -> bool:
        """Return whether nothing was lost and nothing was wrong."""
        return not (self.lost_predictions or self.lost_labels or self.wrong_answers or self.logged_twice)


def register(storage: Path) -> tuple[list[list[float]], list[int]]:
    """Register a champion. Returns rows and the predictions of a model that has the same coefficients."""
    features, target = load_breast_cancer(return_X_y=True, as_frame=True)
    features = features.astype(np.float64)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(features, target)
    registry = Registry(RegistrySettings(str(storage)))
    task = TaskIdentity(dag_id="benchmark", run_id="1", task_id="kills")
    with open_run(registry, task, "train") as run:
        uri = registration.log_model(run, model, features, pip_requirements=[])
        registration.register(run, MODEL, uri, task)
    registry.client.set_registered_model_alias(MODEL, "champion", "1")
    return features.to_numpy().tolist(), model.predict(features).tolist()


class Gateway:
    """A gateway with two workers, which keeps its port when it is started again."""

    def __init__(self, storage: Path, directory: Path) -> None:
        self._storage, self._directory = storage, directory
        self.port = 0
        self.start()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        log = self._directory / f"gateway-{time.monotonic_ns()}.log"
        command = [sys.executable, "-m", "airflow_provider_mlops.cli", "serve", "--storage-uri", str(self._storage)]
        command += ["--port", str(self.port), "--workers", "2", "--compact-seconds", "1"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "AIRFLOW"))}
        with log.open("wb") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=file, env=environment)
        until = time.monotonic() + _PATIENCE
        while (url := listening.find_url(log.read_text())) is None:
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(log.read_text()[-3000:])
            time.sleep(0.05)
        self.url, self.port = url, int(url.rpartition(":")[2])

    def children(self) -> list[int]:
        """Return the process ids of its workers and trials."""
        try:
            text = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        except FileNotFoundError:
            return []
        return [int(child) for child in text.split()]

    def wait_until_whole(self) -> None:
        """Wait until both workers answer."""
        until = time.monotonic() + _PATIENCE
        answering: set[int] = set()
        while len(answering) < 2:
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError("the gateway did not start again")
            answering = {child for child in self.children() if _listens(child, self.port)}
            time.sleep(0.05)

    def kill(self, process: int) -> str:
        """Kill a process, and start the gateway again if it was the supervisor. Returns what it was."""
        own = self.children()
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            return "a process that had just ended"
        if process != self.process.pid:
            return "worker or trial"
        self.process.wait(_PATIENCE)
        until = time.monotonic() + 60
        while any(Path(f"/proc/{child}/fd").exists() and _runs(child) for child in own):
            if time.monotonic() > until:
                raise RuntimeError("a worker has outlived its supervisor")
            time.sleep(0.01)
        self.start()
        return "supervisor"

    def stop(self) -> None:
        """End it in order."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(_PATIENCE)


class Clients:
    """Clients that note what they were told."""

    def __init__(self, rows: list[list[float]], expected: list[int], seed: int) -> None:
        self._rows, self._expected = rows, expected
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self.predictions: dict[str, int] = {}
        self.labels: dict[str, int] = {}
        self.outcome = Outcome()
        self.refused: Counter[str] = Counter()

    def run(self, url: str, stop: threading.Event) -> None:
        """Send requests until `stop` is set."""
        while not stop.is_set():
            with httpx.Client(base_url=url, timeout=60) as client:
                try:
                    # New connections now and then, so that all workers have some.
                    for _ in range(_REQUESTS_PER_CONNECTION):
                        if not stop.is_set():
                            self._ask(client)
                except httpx.HTTPError:
                    self.outcome.failed_connections += 1
                    time.sleep(0.05)

    def _ask(self, client: httpx.Client) -> None:
        with self._lock:
            first, count = self._random.randrange(len(self._rows) - 3), self._random.choice((1, 3))
            labeled = self._random.random() < 0.2
        answer = client.post(f"/models/{MODEL}/invocations", json={"instances": self._rows[first : first + count]})
        if answer.status_code != 200:
            self.refused[str(answer.status_code)] += 1
            time.sleep(0.05)
            return
        expected = self._expected[first : first + count]
        request_id = answer.headers["x-prediction-id"]
        ids = [request_id] if count == 1 else [f"{request_id}-{row}" for row in range(count)]
        with self._lock:
            self.outcome.answered += 1
            self.outcome.wrong_answers += answer.json()["predictions"] != expected
            self.predictions.update(zip(ids, expected, strict=True))
        if labeled:
            label = sum(map(ord, ids[0]))
            if client.post("/feedback", json={"prediction_id": ids[0], "label": label}).status_code == 200:
                self.labels[ids[0]] = label

    def compare(self, log: pd.DataFrame) -> Outcome:
        """Return the outcome, given the prediction log."""
        outcome = self.outcome
        logged = dict(zip(log["prediction_id"], log["output"], strict=True))
        labels = dict(zip(log["prediction_id"], log["label"], strict=True))
        outcome.logged_twice = len(log) - len(logged)
        outcome.lost_predictions = len(self.predictions.keys() - logged.keys())
        outcome.wrong_answers += sum(
            int(logged[name]) != value for name, value in self.predictions.items() if name in logged
        )
        outcome.lost_labels = sum(labels.get(name) != label for name, label in self.labels.items())
        outcome.labels, outcome.refused = len(self.labels), dict(self.refused)
        return outcome


def run(directory: Path, *, rounds: int, seed: int, clients: int = 4, seconds: float = 3.0) -> Outcome:
    """Kill `rounds` processes, each up to `seconds` after the gateway is whole again."""
    chance = random.Random(seed)
    storage = directory / "storage"
    rows, expected = register(storage)
    gateway = Gateway(storage, directory)
    told = Clients(rows, expected, seed)
    stop = threading.Event()
    killed: Counter[str] = Counter()
    threads = [threading.Thread(target=told.run, args=(gateway.url, stop)) for _ in range(clients)]
    try:
        gateway.wait_until_whole()
        for thread in threads:
            thread.start()
        for number in range(rounds):
            # In most rounds both workers are there; in some, one is just being replaced.
            if number % 4 != 3:
                gateway.wait_until_whole()
            time.sleep(chance.uniform(0.0, seconds))
            killed[gateway.kill(chance.choice([gateway.process.pid, *gateway.children()]))] += 1
        gateway.wait_until_whole()
        before = told.outcome.answered
        while told.outcome.answered < before + 50:
            time.sleep(0.05)
        stop.set()
        for thread in threads:
            thread.join()
        gateway.stop()
    finally:
        stop.set()
        gateway.process.kill()
        gateway.process.wait()
    outcome = told.compare(prediction_log.read(str(storage), MODEL).execute())
    outcome.killed = dict(killed)
    return outcome


def _listens(process: int, port: int) -> bool:
    """Return whether a process has a socket that listens on a port."""
    try:
        links = {os.readlink(path) for path in Path(f"/proc/{process}/fd").iterdir()}
        table = Path("/proc/net/tcp").read_text().splitlines()[1:]
    except OSError:
        return False
    for line in table:
        fields = line.split()
        if fields[3] == "0A" and fields[1].endswith(f":{port:04X}") and f"socket:[{fields[9]}]" in links:
            return True
    return False


def _runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        outcome = run(Path(directory), rounds=options.rounds, seed=options.seed)
    values = asdict(outcome)
    if options.json:
        print(json.dumps(values))
    else:
        for name, value in values.items():
            print(f"{name.replace('_', ' '):24} {value}")
    sys.exit(0 if outcome.is_clean else 1)


if __name__ == "__main__":
    main()
