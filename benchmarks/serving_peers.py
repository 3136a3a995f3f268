"""How fast is the gateway against the servers that people use instead? On models that the step train makes.

Every server gets the same fitted Pipeline and the same row, and answers with the prediction and a classifier's
probabilities. Each peer gets the row in its own usual form, and runs one worker in an environment of its own, which the
benchmark makes once with pip (`--environments`): MLServer, BentoML, Ray Serve, and thirty lines of FastAPI by hand. The
gateway checks the rows and its output and logs every prediction; no peer does.

All servers of one model are up at once, and rounds alternate between them; medians of the rounds are compared. The load
client (`serving_load.py`) runs on the same processors. Lines for gRPC, keys and TLS belong here, too, as ratios to the
plain line, once the gateway has them.

    python -m benchmarks.serving_peers [--rounds 5] [--seconds 2] [--quick] [--models NAME ...] [--json FILE]
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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import joblib

from airflow_provider_mlops.registry import models
from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.settings import RegistrySettings
from benchmarks import serving_servers, trained_models
from benchmarks.measure import machine, print_table, unwind_on_signals, versions, write_json
from benchmarks.serving import Target, measure
from benchmarks.serving_servers import Server

HERE = Path(__file__).parent / "peers"
OURS = "gateway"
CLIENTS = (1, 16)
PEERS = {
    "FastAPI": ("fastapi==0.163.2", "uvicorn[standard]"),
    "MLServer": ("mlserver==1.7.1", "mlserver-sklearn==1.7.1"),
    "BentoML": ("bentoml==1.4.40",),
    "Ray Serve": ("ray[serve]==2.60.0",),
}
_SAME = ("joblib", "numpy", "pandas", "scikit-learn")
"""Packages that a peer has in our version, because the Pipeline is the same file for all."""

Results = dict[tuple[str, str, int], list[dict[str, float]]]
"""By server, form and number of clients."""


@dataclass(frozen=True)
class Line:
    """A model and a form of requests, against the best peer for each number of clients."""

    title: str
    form: str
    clients: int
    ours: float
    best: str
    peer: float
    p99: float

    @property
    def ratio(self) -> float:
        return self.ours / self.peer


def environment(directory: Path, peer: str) -> Path:
    """Return the `bin` folder of the peer's environment, which is made if it is missing."""
    folder = directory / peer.lower().replace(" ", "-")
    if not (folder / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        same = [f"{name}=={version}" for name, version in versions(_SAME).items()]
        command = [str(folder / "bin" / "pip"), "install", "-q", *PEERS[peer], *same]
        if subprocess.run(command).returncode:
            # A peer that needs other versions gets those that it needs; whether it can read the file is then seen.
            subprocess.run([*command[: -len(same)], "scikit-learn", "pandas"], check=True)
        (folder / "complete").touch()
    return folder / "bin"


@contextlib.contextmanager
def running(peer: str, binaries: Path, directory: Path, model: Path) -> Iterator[Server]:
    """Run a peer with a model."""
    port = serving_servers.free_port()
    variables = {
        "MODEL": str(model),
        "PYTHONPATH": str(HERE),
        "BENTOML_DO_NOT_TRACK": "true",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    if peer == "FastAPI":
        command = [str(binaries / "uvicorn"), "fastapi_app:app", "--port", str(port), "--no-access-log"]
        ready = "/ready"
    elif peer == "BentoML":
        command = [str(binaries / "bentoml"), "serve", "bento_service:Model", "--port", str(port)]
        ready = "/readyz"
    elif peer == "Ray Serve":
        command = [str(binaries / "python"), str(HERE / "ray_app.py"), str(port)]
        ready = "/"
    else:
        command = [str(binaries / "mlserver"), "start", str(_mlserver_settings(directory, model, port))]
        ready = "/v2/health/ready"
    with serving_servers.peer(peer, command, directory, port, variables, ready) as server:
        yield server


def _mlserver_settings(directory: Path, model: Path, port: int) -> Path:
    folder = directory / f"mlserver-{model.stem}"
    folder.mkdir(exist_ok=True)
    others = {"grpc_port": serving_servers.free_port(), "metrics_port": serving_servers.free_port()}
    # In the server's own process: with a process of its own for inference, each request takes a hop more.
    settings = {"host": "127.0.0.1", "http_port": port, "parallel_workers": 0, **others}
    (folder / "settings.json").write_text(json.dumps(settings))
    implementation = {"implementation": "mlserver_sklearn.SKLearnModel", "parameters": {"uri": str(model)}}
    (folder / "model-settings.json").write_text(json.dumps({"name": "model", **implementation}))
    return folder


def request(peer: str, row: dict[str, Any], probabilities: bool) -> tuple[str, dict[str, Any]]:
    """Return the path and the body of a peer's usual request for a row."""
    is_numeric = all(type(value) is float for value in row.values())
    if peer == "MLServer":
        outputs = [{"name": "predict"}, *([{"name": "predict_proba"}] if probabilities else [])]
        forms = trained_models.bodies(row)
        if is_numeric:
            return "/v2/models/model/infer", {**forms[trained_models.TENSOR], "outputs": outputs}
        frame = {"parameters": {"content_type": "pd"}, **forms[trained_models.COLUMNS]}
        return "/v2/models/model/infer", {**frame, "outputs": outputs}
    path = "/" if peer == "Ray Serve" else "/numbers" if is_numeric else "/records"
    return path, {"data": [list(row.values())]} if is_numeric else {"records": [row]}


def run_case(
    case: trained_models.Case,
    row: dict[str, Any],
    gateway: Server,
    peers: dict[str, Path],
    model: Path,
    probabilities: bool,
    options: argparse.Namespace,
) -> Results:
    """Measure the gateway in each form and every peer, for one model."""
    directory = model.parent
    targets: list[tuple[str, Target, Path]] = []
    for form, body in trained_models.bodies(row).items():
        url = gateway.url + trained_models.path(form, case.name)
        targets.append((form, Target(OURS, case.name, url), trained_models.write(directory, case.name, form, body)))
    results: Results = defaultdict(list)
    with contextlib.ExitStack() as stack:
        for peer, binaries in peers.items():
            try:
                server = stack.enter_context(running(peer, binaries, directory, model))
                path, body = request(peer, row, probabilities)
                file = trained_models.write(directory, case.name, peer, body)
                target = Target(peer, case.name, server.url + path)
                measure(target, file, 1, 2.0)
            except RuntimeError as error:
                print(f"{peer} does not answer for {case.name}: {str(error)[-300:]}", file=sys.stderr, flush=True)
                continue
            targets.append(("its own", target, file))
        for number in range(options.rounds):
            for form, target, file in targets if number % 2 == 0 else reversed(targets):
                for clients in CLIENTS:
                    results[target.server, form, clients].append(measure(target, file, clients, options.seconds))
    return results


def lines(case: trained_models.Case, results: Results) -> list[Line]:
    """Return the gateway's lines for a model against the best peer."""

    def median(key: tuple[str, str, int], what: str) -> float:
        return statistics.median(result[what] for result in results[key])

    found = []
    for server, form, clients in results:
        if server != OURS:
            continue
        peers = [key for key in results if key[0] != OURS and key[2] == clients]
        if not peers:
            continue
        best = max(peers, key=lambda key: median(key, "per_second"))
        key = (server, form, clients)
        p99 = median(key, "p99_ms") / median(best, "p99_ms")
        per_second = (median(key, "per_second"), median(best, "per_second"))
        found.append(Line(case.title, form, clients, per_second[0], best[0], per_second[1], p99))
    return found


def report(everything: dict[str, Results]) -> dict[str, float]:
    """Print the tables, ready to be pasted into the documentation, and return the ratios by name."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    about = ", ".join(f"{name} {value}" for name, value in machine().items())
    print(f"\nCommit {commit}, {datetime.now(UTC):%Y-%m-%d}, {about}.")
    ratios: dict[str, float] = {}
    for name, results in everything.items():
        case = trained_models.BY_NAME[name]
        rows = [
            (
                server,
                form,
                clients,
                *(statistics.median(one[key] for one in measured) for key in ("per_second", "p99_ms")),
            )
            for (server, form, clients), measured in results.items()
        ]
        print_table(["server", "form", "clients", "requests/s", "p99 ms"], rows, case.title)
        for line in lines(case, results):
            ratios[f"{name}: {line.form}, {line.clients}"] = line.ratio
    print("\n| model | form | clients | gateway, requests/s | best peer, requests/s | ratio | p99, ratio |")
    print("|---|---|---|---|---|---|---|")
    for name, results in everything.items():
        for line in lines(trained_models.BY_NAME[name], results):
            print(
                f"| {line.title} | {line.form} | {line.clients} | {line.ours:,.0f} | {line.best} {line.peer:,.0f} | "
                f"{line.ratio:.1f} | {line.p99:.2f} |"
            )
    return ratios


def run(directory: Path, options: argparse.Namespace) -> dict[str, Results]:
    """Measure all models."""
    peers = {peer: environment(options.environments, peer) for peer in options.peers}
    storage = directory / "storage"
    cases = tuple(trained_models.BY_NAME[name] for name in options.models)
    rows = trained_models.build(storage, cases)
    registry = Registry(RegistrySettings(str(storage)))
    everything: dict[str, Results] = {}
    with serving_servers.gateway(directory, storage, OURS) as gateway:
        for case in cases:
            pipeline = models.load(registry, models.get(registry, case.name, "champion"))
            file = directory / f"{case.name}.joblib"
            joblib.dump(pipeline, file)
            has_probabilities = hasattr(pipeline, "predict_proba")
            everything[case.name] = run_case(case, rows[case.name], gateway, peers, file, has_probabilities, options)
            print(f"{case.title} is done", file=sys.stderr, flush=True)
    return everything


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    unwind_on_signals()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each measurement lasts")
    parser.add_argument("--quick", action="store_true", help="two rounds of half a second, to see that it works")
    parser.add_argument("--models", nargs="*", choices=trained_models.BY_NAME, default=list(trained_models.BY_NAME))
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--environments", type=Path, default=Path(".venv-peers"), help="where the peers are installed")
    parser.add_argument("--json", metavar="FILE", help="write the ratios here")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds = 2, 0.5
    options.environments = options.environments.absolute()
    with tempfile.TemporaryDirectory(prefix="mlops-benchmark-") as directory:
        everything = run(Path(directory), options)
    ratios = report(everything)
    if options.json:
        write_json(options.json, ratios)


if __name__ == "__main__":
    main()
