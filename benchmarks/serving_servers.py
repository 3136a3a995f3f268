"""The servers of the serving benchmark, each started as a user starts it, as a process of its own on this machine."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from airflow_provider_mlops.data.task_identity import TaskIdentity
from airflow_provider_mlops.serving.client.client import GatewayClient
from airflow_provider_mlops.serving.gateway.access import local_key
from airflow_provider_mlops.serving.gateway.workers import listening
from airflow_provider_mlops.serving.rollouts.plan.strategies import Strategy
from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan
from airflow_provider_mlops.serving.rollouts.store import RolloutStore
from benchmarks.measure import child

HERE = Path(__file__).parent


@dataclass
class Server:
    """A server that answers: where, after how many seconds, and its process."""

    name: str
    url: str
    start_seconds: float
    process: subprocess.Popen[bytes]

    def memory(self) -> float:
        """Resident MiB of the process and its children, what they share counted once."""
        return sum(_proportional(process) for process in process_family(self.process.pid)) / 1024


@contextlib.contextmanager
def mlflow(directory: Path, tracking_uri: str, model: str) -> Iterator[Server]:
    """`mlflow models serve` with one worker, in this environment."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", f"models:/{model}/1"]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    environment = clean_environment() | {"MLFLOW_TRACKING_URI": tracking_uri}
    url = f"http://127.0.0.1:{port}"
    with _running(f"mlflow-{model}", command, directory, environment, lambda log: url, "/ping") as server:
        yield server


@contextlib.contextmanager
def empty(directory: Path, kind: str) -> Iterator[Server]:
    """The empty handler; `kind` is `bare` or `starlette`."""
    port = free_port()
    command = [sys.executable, str(HERE / "serving_empty.py"), kind, str(port)]
    url = f"http://127.0.0.1:{port}"
    with _running(f"empty-{kind}", command, directory, clean_environment(), lambda log: url, None) as server:
        yield server


@contextlib.contextmanager
def peer(
    name: str, command: list[str], directory: Path, port: int, variables: dict[str, str], ready: str
) -> Iterator[Server]:
    """Another server, in an environment of its own."""
    binaries = str(Path(command[0]).parent)
    environment = clean_environment() | variables
    environment["PATH"] = os.pathsep.join([binaries, environment["PATH"]])
    url = f"http://127.0.0.1:{port}"
    with _running(name.replace(" ", "-"), command, directory, environment, lambda log: url, ready) as server:
        yield server


@contextlib.contextmanager
def gateway(directory: Path, storage: Path, name: str, *options: str) -> Iterator[Server]:
    """`airflow-mlops serve` with its defaults and the given options."""
    command = [sys.executable, "-m", "airflow_provider_mlops.cli", "serve", "--storage-uri", str(storage)]
    command += ["--port", "0", *options]
    with _running(name, command, directory, clean_environment(), listening.find_url, "/v2/health/ready") as server:
        yield server


@contextlib.contextmanager
def rolling_out(
    directory: Path, storage: Path, name: str, models: Iterable[str], strategy: Strategy
) -> Iterator[Server]:
    """A gateway with a rollout of version 2 of each model that does not end by itself, in a store of its own."""
    url = f"sqlite:///{directory}/{name.replace(' ', '-')}.db"
    store = RolloutStore(url)
    for model in models:
        plan = RolloutPlan(champion=1, candidates=(2,), strategy=strategy, gates=())
        store.start(model, plan, TaskIdentity(dag_id="benchmark", run_id="1", task_id=model))
    store.close()
    with gateway(directory, storage, name, "--rollout-store", url) as server:
        with GatewayClient(server.url, local_key.find(str(storage))) as client:
            until = time.monotonic() + 60
            while not all(client.model(model)["rollout"] for model in models):
                if time.monotonic() > until:
                    raise RuntimeError(f"{name} does not follow its rollouts")
                time.sleep(0.1)
        yield server


@contextlib.contextmanager
def _running(
    name: str,
    command: list[str],
    directory: Path,
    environment: dict[str, str],
    address: Callable[[str], str | None],
    ready: str | None,
) -> Iterator[Server]:
    log = directory / f"{name}-{time.monotonic_ns()}.log"
    began = time.monotonic()
    with log.open("wb") as file, child(command, file, environment, grace=30) as process:
        while True:
            url = address(log.read_text(errors="replace"))
            if url is not None and _answers(url, ready):
                break
            if process.poll() is not None or time.monotonic() - began > 120:
                raise RuntimeError(f"{name} does not answer\n{log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.02)
        yield Server(name, url, time.monotonic() - began, process)


def _answers(url: str, path: str | None) -> bool:
    try:
        if path is None:
            host, _, port = url.removeprefix("http://").partition(":")
            socket.create_connection((host, int(port)), 1).close()
            return True
        with urllib.request.urlopen(url + path, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def clean_environment() -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "AIRFLOW"))}
    clean.pop("PYTHONDONTWRITEBYTECODE", None)
    path = os.pathsep.join([str(Path(sys.executable).parent), clean.get("PATH", "")])
    return clean | {"PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true"}


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def process_family(process: int) -> list[int]:
    family = [process]
    for thread in Path(f"/proc/{process}/task").iterdir():
        for pid in (thread / "children").read_text().split():
            family += process_family(int(pid))
    return family


def _proportional(process: int) -> int:
    for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0
