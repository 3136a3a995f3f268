"""How fast is the gateway? Against `mlflow models serve` and against a handler that does nothing, all in one run.

The same models (a logistic regression of 30 numbers, a gradient boosting of 200 trees), the same bytes (one row as
`dataframe_split` to `/invocations`), the same client (`serving_load.py`, a process of its own) over the loopback. All
servers are up at once and rounds alternate between them, so that what else the machine does meets all alike; medians
of the rounds are compared, and of each measurement the warm-up is left out. The client shares the processors with the
server; what it takes of one is in the table.

    python -m benchmarks.serving [--rounds 5] [--seconds 2] [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from airflow_provider_mlops.serving.rollouts.plan.strategies import CanaryStrategy, ShadowStrategy
from benchmarks import serving_models, serving_servers
from benchmarks.measure import machine, print_table, unwind_on_signals, versions, write_json
from benchmarks.serving_servers import Server

LOAD = Path(__file__).parent / "serving_load.py"
ONE, SIXTEEN = 1, 16
MLFLOW, OURS, NO_LOG, TWO = "mlflow models serve", "gateway", "gateway, no prediction log", "gateway, two workers"
SHADOW, SPLIT = "gateway, shadow of all requests", "gateway, split in halves"
BARE, STARLETTE = "empty handler, bare ASGI", "empty handler, Starlette"

Results = dict[tuple[str, str, int], list[dict[str, float]]]


@dataclass(frozen=True)
class Target:
    """Where one server answers for one model."""

    server: str
    model: str
    url: str


def measure(target: Target, body: Path, clients: int, seconds: float) -> dict[str, float]:
    """One measurement by the load client. Raises RuntimeError if anything but 200 was answered."""
    command = [sys.executable, str(LOAD), target.url, str(body), "--clients", str(clients), "--seconds", str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 90)
    if done.returncode:
        raise RuntimeError(f"{target.server}, {target.model}: {done.stderr[-2000:]}")
    result: dict[str, float] = json.loads(done.stdout)
    if result["errors"]:
        raise RuntimeError(f"{target.server}, {target.model}: {result['errors']} requests were not answered with 200")
    return result


def run(directory: Path, rounds: int, seconds: float) -> tuple[Results, list[tuple[str, float, float]]]:
    """All measurements by server, model and clients; and start-up seconds and memory of each server."""
    storage = directory / "storage"
    bodies = serving_models.build(storage, directory)
    results: Results = defaultdict(list)
    with contextlib.ExitStack() as stack:
        targets: list[Target] = []
        servers: dict[str, Server] = {}
        for kind, name in (("bare", BARE), ("starlette", STARLETTE)):
            servers[name] = stack.enter_context(serving_servers.empty(directory, kind))
            targets.append(Target(name, serving_models.LOGISTIC, servers[name].url + "/invocations"))
        for model in serving_models.NAMES:
            name = f"{MLFLOW} ({model})"
            tracking_uri = f"sqlite:///{storage}/mlflow.db"
            servers[name] = stack.enter_context(serving_servers.mlflow(directory, tracking_uri, model))
            targets.append(Target(MLFLOW, model, servers[name].url + "/invocations"))
        for name, *options in ((OURS,), (NO_LOG, "--no-prediction-log"), (TWO, "--workers", "2")):
            server = stack.enter_context(serving_servers.gateway(directory, storage, name, *options))
            servers[name] = server
            targets += [Target(name, model, f"{server.url}/models/{model}/invocations") for model in bodies]
        for name, strategy in (
            (SHADOW, ShadowStrategy(max_waiting=1000)),
            (SPLIT, CanaryStrategy(steps=(0.5, 1.0))),
        ):
            server = stack.enter_context(serving_servers.rolling_out(directory, storage, name, bodies, strategy))
            servers[name] = server
            targets += [Target(name, model, f"{server.url}/models/{model}/invocations") for model in bodies]
        for number in range(rounds):
            for target in targets if number % 2 == 0 else reversed(targets):
                for clients in (ONE, SIXTEEN):
                    result = measure(target, bodies[target.model], clients, seconds)
                    results[target.server, target.model, clients].append(result)
            print(f"round {number + 1} of {rounds} is done", file=sys.stderr, flush=True)
        state = [(name, server.start_seconds, server.memory()) for name, server in servers.items()]
    return results, state


def median(results: Results, server: str, model: str, clients: int, key: str) -> float:
    """The median over the rounds."""
    return statistics.median(result[key] for result in results[server, model, clients])


def report(results: Results, state: list[tuple[str, float, float]], by_version: float) -> dict[str, float]:
    """Print the tables and return the ratios by name."""
    keys = ("per_second", "median_ms", "p99_ms", "client_processor")
    for model in serving_models.NAMES:
        rows = [
            (server, clients, *(median(results, server, model, clients, key) for key in keys))
            for server, of, clients in results
            if of == model
        ]
        rows.sort(key=lambda row: (row[1], row[2]))
        headers = ["server", "clients", "requests/s", "median ms", "p99 ms", "client's processors"]
        print_table(headers, rows, f"One row, {serving_models.TITLES[model]}")
    print_table(["server", "start-up s", "memory MiB"], state, "Start until ready, and memory after the load (PSS)")

    def ratio(one: str, other: str, model: str, clients: int, key: str) -> float:
        return median(results, one, model, clients, key) / median(results, other, model, clients, key)

    ratios: dict[str, float] = {}
    for model, suffix in ((serving_models.LOGISTIC, ""), (serving_models.BOOSTING, "_boosting")):
        ratios["one_client" + suffix] = ratio(OURS, MLFLOW, model, ONE, "per_second")
        ratios["sixteen_clients" + suffix] = ratio(OURS, MLFLOW, model, SIXTEEN, "per_second")
        ratios[f"sixteen_clients_p99{suffix}"] = ratio(OURS, MLFLOW, model, SIXTEEN, "p99_ms")
        ratios["log_median" + suffix] = ratio(OURS, NO_LOG, model, ONE, "median_ms")
        ratios[f"log_median_sixteen{suffix}"] = ratio(OURS, NO_LOG, model, SIXTEEN, "median_ms")
        for name, server in (("shadow", SHADOW), ("split", SPLIT)):
            ratios[f"{name}_median{suffix}"] = ratio(server, OURS, model, ONE, "median_ms")
            ratios[f"{name}_median_sixteen{suffix}"] = ratio(server, OURS, model, SIXTEEN, "median_ms")
        ratios["two_workers" + suffix] = ratio(TWO, OURS, model, SIXTEEN, "per_second")
        client = median(results, TWO, model, SIXTEEN, "client_processor")
        ratios[f"two_workers_client_processor{suffix}"] = client
    ratios["of_empty_handler"] = ratio(OURS, BARE, serving_models.LOGISTIC, SIXTEEN, "per_second")
    ratios["of_empty_starlette_handler"] = ratio(OURS, STARLETTE, serving_models.LOGISTIC, SIXTEEN, "per_second")
    ratios["memory_by_version_mib"] = by_version
    ratios["start_seconds"] = next(seconds for name, seconds, _ in state if name == OURS)
    print_table(["ratio", "value"], list(ratios.items()), "Ratios")
    return ratios


def main() -> None:
    """The command line."""
    unwind_on_signals()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each measurement lasts")
    parser.add_argument("--quick", action="store_true", help="two rounds of half a second, to see that it works")
    parser.add_argument("--json", metavar="FILE", help="write the ratios here")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds = 2, 0.5
    print(", ".join(f"{name}: {value}" for name, value in machine().items()))
    print(", ".join(f"{name} {version}" for name, version in versions().items()))
    with tempfile.TemporaryDirectory(prefix="mlops-benchmark-") as directory:
        results, state = run(Path(directory), options.rounds, options.seconds)
        by_version = serving_models.memory_by_version(Path(directory))
    ratios = report(results, state, by_version)
    if options.json:
        write_json(options.json, ratios)


if __name__ == "__main__":
    main()
