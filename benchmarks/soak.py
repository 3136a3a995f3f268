"""Does a gateway lose anything in the long run? Load, a rollout, swaps and kills, and a count of what was acknowledged.

A gateway with two workers receives 70 % of the requests that it can answer, with rewards for half of them. One model is
in a rollout; the champion of another one is swapped every minute; every two minutes, one of the gateway's processes is
killed. In the end, every prediction and every reward that was acknowledged must be in the log, with the value that was
received, and the rollout store must have counted the same.

    python -m benchmarks.soak [--minutes 10] [--swap-seconds 60] [--kill-seconds 120] [--json FILE]

The exit code is 1 if anything is lost, wrong or counted twice.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression

from airflow_provider_mlops.data.task_identity import TaskIdentity
from airflow_provider_mlops.errors import MlopsError
from airflow_provider_mlops.registry import registration
from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.run import open_run
from airflow_provider_mlops.registry.settings import RegistrySettings
from airflow_provider_mlops.serving.client.client import GatewayClient
from airflow_provider_mlops.serving.gateway.access import local_key
from airflow_provider_mlops.serving.log import prediction_log
from airflow_provider_mlops.serving.rollouts.plan.reward import Reward
from airflow_provider_mlops.serving.rollouts.plan.strategies import CanaryStrategy
from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan
from airflow_provider_mlops.serving.rollouts.store import RolloutStore, default_url
from benchmarks import serving_servers
from benchmarks.measure import GUARD, machine, print_table, unwind_on_signals, versions, write_json
from demo.sessions import end_sessions

ROLLED_OUT, SWAPPED = "rolled-out", "swapped"
ROWS = 64
CAPACITY_SECONDS = 5.0
SHARE_OF_CAPACITY = 0.7
WARM_UP_SECONDS = 30.0
"""What a process uses in its first seconds does not count as growth."""


@dataclass
class ProcessHistory:
    """Samples of one process: time, resident MB, threads and open files."""

    kind: str
    samples: list[tuple[float, float, int, int]] = field(default_factory=list)

    def slope(self) -> float | None:
        """Return the growth in MB a minute after the warm-up; None if the process did not live long enough."""
        start = self.samples[0][0] + WARM_UP_SECONDS
        later = [(moment, memory) for moment, memory, _, _ in self.samples if moment >= start]
        if len(later) < 10:
            return None
        times, memory = np.array(later).T
        return float(np.polyfit(times - times[0], memory, 1)[0] * 60)


class Gateway:
    """A gateway on one port that is started again when it was killed."""

    def __init__(self, storage: Path, directory: Path, options: list[str]) -> None:
        self._storage = storage
        self._directory = directory
        self._options = options
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._started: list[subprocess.Popen[bytes]] = []
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process. It may not be ready yet."""
        command = [sys.executable, "-m", "airflow_provider_mlops.cli", "serve", "--storage-uri", str(self._storage)]
        command += ["--port", str(self.port), "--poll-seconds", "1", "--compact-seconds", "10", *self._options]
        with (self._directory / f"gateway-{len(self._started) + 1}.log").open("wb") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env=serving_servers.clean_environment(), start_new_session=True
            )
        self._started.append(self.process)
        GUARD.watch(self.process.pid)

    def wait_until_ready(self) -> None:
        """Wait until the models are loaded."""
        until = time.monotonic() + 240
        while time.monotonic() < until:
            with contextlib.suppress(MlopsError), self.client() as client:
                if client.ready():
                    return
            if self.process is not None and self.process.poll() is not None:
                # The port may still be taken by workers of the one that was killed.
                self.start()
            time.sleep(0.2)
        raise RuntimeError(f"The gateway is not ready, see {self._directory}")

    def client(self) -> GatewayClient:
        """Return a client of the admin API."""
        return GatewayClient(self.url, local_key.find(str(self._storage)))

    def processes(self) -> dict[int, str]:
        """Return the living processes: the parent and the workers."""
        found = {}
        if self.process is not None and self.process.poll() is None:
            for pid in serving_servers.process_family(self.process.pid):
                with contextlib.suppress(OSError):
                    command = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
                    if pid == self.process.pid:
                        found[pid] = "parent"
                    elif "resource_tracker" not in command:
                        found[pid] = "worker"
        return found

    def end(self) -> int:
        """End it as an operator does. Returns the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(180)

    def kill(self) -> None:
        """End everything that was ever started."""
        end_sessions([process.pid for process in self._started], 0)


def register(storage: Path) -> dict[str, Any]:
    """Register two versions of both models, and return the requests and the value of each by version."""
    registry = Registry(RegistrySettings(str(storage)))
    features = pd.DataFrame(np.random.default_rng(1).normal(size=(ROWS, 4)), columns=["a", "b", "c", "d"])
    split = features.to_dict(orient="split", index=False)
    bodies = [json.dumps({"dataframe_split": {"columns": split["columns"], "data": [row]}}) for row in split["data"]]
    models: dict[str, Any] = {}
    for place, name in enumerate((ROLLED_OUT, SWAPPED)):
        values = {}
        for number in (1, 2):
            # No two rows, versions or models share a value.
            target = 10_000 * place + 1_000 * number + features @ np.array([1.0, 2.0, 3.0, 4.0])
            fitted = LinearRegression().fit(features, target)
            task = TaskIdentity(dag_id="benchmark", run_id=str(number), task_id=name)
            with open_run(registry, task, "train") as run:
                uri = registration.log_model(run, fitted, features, pip_requirements=[])
                registration.register(run, name, uri, task)
            values[str(number)] = fitted.predict(features).tolist()
        registry.client.set_registered_model_alias(name, "champion", "1")
        models[name] = {"bodies": bodies, "values": values}
    return models


def sample(gateway: Gateway, histories: dict[int, ProcessHistory]) -> None:
    """Note what each process uses."""
    for pid, kind in gateway.processes().items():
        with contextlib.suppress(OSError, StopIteration):
            status = Path(f"/proc/{pid}/status").read_text().splitlines()
            memory = next(int(line.split()[1]) for line in status if line.startswith("VmRSS:")) / 1024
            threads = next(int(line.split()[1]) for line in status if line.startswith("Threads:"))
            files = len(os.listdir(f"/proc/{pid}/fd"))
            histories.setdefault(pid, ProcessHistory(kind)).samples.append((time.monotonic(), memory, threads, files))


def load(directory: Path, plan: Path, name: str, *options: str) -> subprocess.Popen[bytes]:
    """Start the load. Its record and its summary are named after `name`."""
    command = [sys.executable, "-m", "benchmarks.soak_load", str(plan), str(directory / f"{name}.record")]
    command += [str(directory / f"{name}.json"), *options]
    return subprocess.Popen(command, cwd=Path(__file__).parent.parent)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the load, which then writes its summary."""
    process.send_signal(signal.SIGTERM)
    if process.wait(60):
        raise RuntimeError("The load has failed")


@dataclass(frozen=True)
class Schedule:
    """How long it takes, and when what happens, in seconds."""

    seconds: float
    swap: float
    kill: float


def drive(gateway: Gateway, schedule: Schedule, histories: dict[int, ProcessHistory], seed: int) -> dict[str, int]:
    """Swap and kill while the load runs, and note what the processes use."""
    counts = defaultdict(int)
    choice, began = random.Random(seed), time.monotonic()
    next_swap, next_kill, version = schedule.swap, schedule.kill, 1
    while (elapsed := time.monotonic() - began) < schedule.seconds:
        sample(gateway, histories)
        if elapsed >= next_swap:
            next_swap += schedule.swap
            version = 3 - version
            try:
                with gateway.client() as client:
                    client.activate(SWAPPED, version)
                counts["swaps"] += 1
            except MlopsError:
                counts["swaps_refused"] += 1
        # Not so late that nothing follows it.
        if elapsed >= next_kill and schedule.seconds - elapsed > 5:
            next_kill += schedule.kill
            pid, kind = choice.choice(sorted(gateway.processes().items()))
            os.kill(pid, signal.SIGKILL)
            counts[f"killed_{kind}"] += 1
        if gateway.process is not None and gateway.process.poll() is not None:
            gateway.start()
            counts["restarts"] += 1
        time.sleep(0.5)
    return dict(counts)


def compare(storage: Path, directory: Path, rollout: str) -> dict[str, float]:
    """Compare what was acknowledged with the log and with the rollout store."""
    answered: dict[str, tuple[str, float]] = {}
    rewarded, unanswered = set(), set()
    for path in directory.glob("*.record"):
        for line in path.read_text().splitlines():
            kind, name, *rest = line.split(" ")
            if kind == "p":
                answered[name] = (rest[0], float(rest[1]))
            else:
                (rewarded if kind == "f" else unanswered).add(name)
    result = {"acknowledged_predictions": float(len(answered)), "acknowledged_rewards": float(len(rewarded))}
    missing = wrong = repeated = lost_rewards = 0
    counted = {"requests": 0, "rewards": 0}
    for model in (ROLLED_OUT, SWAPPED):
        table = prediction_log.read(str(storage), model).select("prediction_id", "output", "reward", "rollout")
        rows = table.execute()
        outputs = dict(zip(rows["prediction_id"], rows["output"], strict=True))
        repeated += len(rows) - len(outputs)
        mine = {name: value for name, (of, value) in answered.items() if of == model}
        missing += len(mine.keys() - outputs.keys())
        wrong += sum(abs(outputs[name] - value) > 1e-6 for name, value in mine.items() if name in outputs)
        with_reward = set(rows.loc[rows["reward"].notna(), "prediction_id"])
        lost_rewards += len((rewarded & mine.keys()) - with_reward)
        of_rollout = rows[rows["rollout"] == rollout]
        counted["requests"] += len(of_rollout)
        counted["rewards"] += int(of_rollout["reward"].notna().sum())
    store = RolloutStore(default_url(str(storage)))
    arms = store.statistics(rollout).values()
    result |= {
        "lost_predictions": missing,
        "wrong_values_in_log": wrong,
        "logged_twice": repeated,
        "lost_rewards": lost_rewards,
        "rewards_without_an_answer": len(unanswered),
        "store_requests_difference": sum(arm.requests - arm.errors for arm in arms) - counted["requests"],
        "store_rewards_difference": sum(arm.reward_count for arm in arms) - counted["rewards"],
        "store_requests": counted["requests"],
        "store_rewards": counted["rewards"],
        "store_mb": sum(file.stat().st_size for file in storage.glob("rollouts.db*")) / 1e6,
    }
    store.close()
    return result


MUST_BE_ZERO = (
    "lost_predictions",
    "wrong_values",
    "wrong_values_in_log",
    "logged_twice",
    "lost_rewards",
    "store_requests_difference",
    "store_rewards_difference",
)


def soak(directory: Path, schedule: Schedule, workers: int, seed: int, rate: float | None) -> dict[str, float]:
    """Run the whole of it, print the tables, and return the counts."""
    storage = directory / "storage"
    storage.mkdir()
    models = register(storage)
    gateway = Gateway(storage, directory, ["--workers", str(workers)])
    histories: dict[int, ProcessHistory] = {}
    plan = directory / "plan.json"
    plan.write_text(json.dumps({"url": gateway.url, "models": models}))
    running: list[subprocess.Popen[bytes]] = []
    try:
        gateway.start()
        gateway.wait_until_ready()
        store = RolloutStore(default_url(str(storage)))
        by = TaskIdentity(dag_id="benchmark", run_id="1", task_id="rollout")
        rollout = store.start(
            ROLLED_OUT,
            RolloutPlan(
                champion=1, candidates=(2,), strategy=CanaryStrategy(steps=(0.5, 1.0)), gates=(), reward=Reward()
            ),
            by,
        )
        store.close()
        if rate is None:
            running.append(load(directory, plan, "capacity"))
            time.sleep(CAPACITY_SECONDS)
            stop(running[-1])
            measured = json.loads((directory / "capacity.json").read_text())
            rate = SHARE_OF_CAPACITY * measured["outcomes"]["answered"] / measured["seconds"]
        print(f"{rate:,.0f} requests a second", file=sys.stderr, flush=True)
        running.append(load(directory, plan, "load", "--rate", str(rate)))
        counts = drive(gateway, schedule, histories, seed)
        stop(running[-1])
        gateway.wait_until_ready()
        code = gateway.end()
    finally:
        for process in running:
            process.kill()
        gateway.kill()
    summary = json.loads((directory / "load.json").read_text())
    result = {"rate": rate, "exit_code": code, "wrong_values": summary["wrong_count"], **counts}
    result |= compare(storage, directory, rollout.id)
    result |= {f"{name}_ms": value for name, value in summary["milliseconds"].items() if value is not None}
    report(result, summary, histories)
    return result


def report(result: dict[str, float], summary: dict[str, Any], histories: dict[int, ProcessHistory]) -> None:
    """Print the tables."""
    print_table(["outcome", "requests"], sorted(summary["outcomes"].items()), "What the clients received")
    rows = []
    for pid, history in histories.items():
        first, last = history.samples[0], history.samples[-1]
        slope = history.slope()
        threads, files = (max(sample[place] for sample in history.samples) for place in (2, 3))
        lived = last[0] - first[0]
        rows.append(
            (pid, history.kind, lived, first[1], last[1], "-" if slope is None else f"{slope:+.2f}", threads, files)
        )
    headers = ["process", "kind", "seconds", "first MB", "last MB", "MB a minute", "most threads", "most files"]
    print_table(headers, rows, "Processes of the gateway")
    print_table(["count", "value"], list(result.items()), "Counts")
    for wrong in summary["wrong"]:
        print(f"Wrong value: {wrong}", file=sys.stderr)


def main() -> int:
    """The command line."""
    unwind_on_signals()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--swap-seconds", type=float, default=60.0)
    parser.add_argument("--kill-seconds", type=float, default=120.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rate", type=float, help="requests a second instead of 70 %% of the capacity")
    parser.add_argument("--seed", type=int, default=1, help="decides which processes are killed")
    parser.add_argument("--keep", metavar="DIRECTORY", help="keep the storage and the logs here")
    parser.add_argument("--json", metavar="FILE", help="write the counts here")
    options = parser.parse_args()
    print(", ".join(f"{name}: {value}" for name, value in machine().items()))
    print(", ".join(f"{name} {version}" for name, version in versions().items()))
    schedule = Schedule(options.minutes * 60, options.swap_seconds, options.kill_seconds)
    with contextlib.ExitStack() as stack:
        directory = options.keep or stack.enter_context(tempfile.TemporaryDirectory(prefix="mlops-benchmark-"))
        Path(directory).mkdir(parents=True, exist_ok=True)
        result = soak(Path(directory), schedule, options.workers, options.seed, options.rate)
    if options.json:
        write_json(options.json, result)
    bad = [name for name in MUST_BE_ZERO if result[name]]
    print("Nothing that was acknowledged is lost" if not bad else f"Not zero: {', '.join(bad)}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
