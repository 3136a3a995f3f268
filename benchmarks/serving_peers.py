"""How fast is the gateway against the servers that people use instead? On models that the step train makes.

Every server gets the same fitted Pipeline and the same rows, and answers with the prediction and a classifier's
probabilities. Each peer gets the rows in its own usual form, and runs one worker in an environment of its own:
MLServer, BentoML, Ray Serve, and thirty lines of FastAPI by hand (`peers/`). The gateway checks the rows and its output
and logs every prediction; no peer does, and the peers' logs of requests are off.

Before anything is measured, every server must answer every row as the Pipeline does in this process. All servers of one
model are up at once, and rounds alternate between them; medians of the rounds are compared. The load client
(`serving_load.py`) runs on the same processors. The processes of Ray take 8 % of a processor while Ray is not asked,
those of the others nothing.

The first run installs the peers with pip, which takes a few minutes; `--install` does only that.

    python -m benchmarks.serving_peers --install [--environments DIRECTORY]
    python -m benchmarks.serving_peers [--rounds 5] [--seconds 2] [--quick] [--models NAME ...] [--forms FORM ...]
        [--peers NAME ...] [--json FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd

from airflow_provider_mlops.registry import models
from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.settings import RegistrySettings
from benchmarks import serving_servers, trained_models
from benchmarks.measure import machine, print_table, unwind_on_signals, versions, write_json
from benchmarks.peers import environment
from benchmarks.peers.peer import PEERS, Answer, Peer, v2_answer
from benchmarks.serving import Target, measure
from benchmarks.serving_servers import Server

OURS, OWN = "gateway", "its own"
CLIENTS = (1, 16)
_FORMS = {"tensor": trained_models.TENSOR, "split": trained_models.SPLIT, "columns": trained_models.COLUMNS}
_MAIN = ("logistic", "logistic_prepared", "boosting_prepared", "logistic_mixed")
"""Models that are measured if none are named."""

Results = dict[tuple[str, str, int], list[dict[str, float]]]
"""By server, form and number of clients."""


@dataclass(frozen=True)
class Way:
    """A server that is asked in one form of requests."""

    form: str
    target: Target
    bodies: Path


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


@contextlib.contextmanager
def running(peer: Peer, binaries: Path, directory: Path, model: Path) -> Iterator[Server]:
    """Run a peer with a model."""
    port = serving_servers.free_port()
    command, variables = peer.command(binaries, directory, model, port), peer.variables(directory, model)
    with serving_servers.peer(peer.name, command, directory, port, variables, peer.ready) as server:
        yield server


def checked(
    name: str, url: str, bodies: Sequence[dict[str, Any]], answer: Callable[[Any], Answer], expected: Sequence[Answer]
) -> None:
    """Let a server answer each row. Raises RuntimeError if an answer is not the expected one."""
    for number, (body, right) in enumerate(zip(bodies, expected, strict=True), 1):
        request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                given = answer(json.load(response))
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{name} refuses row {number}: {error.code} {error.read()[:500]!r}") from None
        if not _same(given, right):
            raise RuntimeError(f"{name} answers row {number} with {given}, and the Pipeline with {right}")


def _same(given: Answer, right: Answer) -> bool:
    if given.probabilities is not None and not np.allclose(given.probabilities, right.probabilities or [], rtol=1e-9):
        return False
    if isinstance(right.prediction, float):
        return bool(np.isclose(given.prediction, right.prediction, rtol=1e-9))
    return bool(given.prediction == right.prediction)


def expected_answers(pipeline: Any, rows: Sequence[dict[str, Any]]) -> list[Answer]:
    """Return what the Pipeline itself answers."""
    frame = pd.DataFrame.from_records(rows)
    predictions = pipeline.predict(frame).tolist()
    if not hasattr(pipeline, "predict_proba"):
        return [Answer(prediction, None) for prediction in predictions]
    probabilities = pipeline.predict_proba(frame).tolist()
    return [Answer(*both) for both in zip(predictions, probabilities, strict=True)]


def ways(
    case: trained_models.Case,
    rows: Sequence[dict[str, Any]],
    expected: Sequence[Answer],
    gateway: Server,
    servers: Sequence[tuple[Peer, Server]],
    directory: Path,
    forms: Sequence[str],
) -> Iterator[Way]:
    """Yield how the gateway and each peer is asked about a model, if its answers are right."""
    kinds = trained_models.kinds(rows)

    def way(server: str, form: str, url: str, bodies: list[dict[str, Any]], answer: Callable[[Any], Answer]) -> Way:
        checked(f"{server}, {form}", url, bodies, answer, expected)
        return Way(
            form,
            Target(server, case.name, url),
            trained_models.write(directory, f"{case.name}-{server}-{form}", bodies),
        )

    for form in trained_models.forms(kinds):
        if form in forms:
            bodies = [trained_models.body(form, row, kinds) for row in rows]
            answer = _split_answer if form == trained_models.SPLIT else v2_answer
            yield way(OURS, form, gateway.url + trained_models.path(form, case.name), bodies, answer)
    for peer, server in servers:
        requests = [peer.request(row, kinds, expected[0].probabilities is not None) for row in rows]
        try:
            yield way(peer.name, OWN, server.url + requests[0][0], [body for _, body in requests], peer.answer)
        except (RuntimeError, OSError) as error:
            print(f"{case.title}: {error}", file=sys.stderr, flush=True)


def _split_answer(content: Any) -> Answer:
    # MLflow's protocol has no probabilities. The gateway calculates and logs them.
    return Answer(content["predictions"][0], None)


def run_case(
    case: trained_models.Case,
    rows: Sequence[dict[str, Any]],
    pipeline: Any,
    gateway: Server,
    peers: dict[str, Path],
    directory: Path,
    options: argparse.Namespace,
) -> Results:
    """Measure the gateway in each form and every peer, for one model."""
    model = directory / f"{case.name}.joblib"
    joblib.dump(pipeline, model)
    forms = [_FORMS[form] for form in options.forms]
    results: Results = defaultdict(list)
    with contextlib.ExitStack() as stack:
        servers: list[tuple[Peer, Server]] = []
        for name, binaries in peers.items():
            try:
                server = stack.enter_context(running(PEERS[name], binaries, directory, model))
                servers.append((PEERS[name], server))
            except RuntimeError as error:
                print(f"{name} does not start: {str(error)[-2000:]}", file=sys.stderr, flush=True)
        expected = expected_answers(pipeline, rows)
        found = list(ways(case, rows, expected, gateway, servers, directory, forms))
        for number in range(options.rounds):
            for way in found if number % 2 == 0 else reversed(found):
                for clients in CLIENTS:
                    result = measure(way.target, way.bodies, clients, options.seconds)
                    results[way.target.server, way.form, clients].append(result)
    return results


def median(results: Results, key: tuple[str, str, int], what: str) -> float:
    """Return the median of the rounds."""
    return statistics.median(result[what] for result in results[key])


def lines(case: trained_models.Case, results: Results) -> list[Line]:
    """Return the gateway's lines for a model against the best peer."""
    found = []
    for key in results:
        server, form, clients = key
        peers = [other for other in results if other[0] != OURS and other[2] == clients]
        if server != OURS or not peers:
            continue
        best = max(peers, key=lambda peer: median(results, peer, "per_second"))
        p99 = median(results, key, "p99_ms") / median(results, best, "p99_ms")
        per_second = (median(results, key, "per_second"), median(results, best, "per_second"))
        found.append(Line(case.title, form, clients, per_second[0], best[0], per_second[1], p99))
    return found


def report(everything: dict[str, Results]) -> dict[str, float]:
    """Print the tables, ready to be pasted into the documentation, and return the ratios by name."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    about = ", ".join(f"{name} {value}" for name, value in machine().items())
    print(f"\nCommit {commit}, {datetime.now(UTC):%Y-%m-%d}, {about}.")
    print(", ".join(f"{name} {version}" for name, version in versions().items()))
    print(", ".join(" ".join(peer.requirements) for peer in PEERS.values()))
    ratios: dict[str, float] = {}
    whats = ("per_second", "median_ms", "p99_ms", "client_processor")
    for name, results in everything.items():
        rows = [(*key[:2], key[2], *(median(results, key, what) for what in whats)) for key in results]
        rows.sort(key=lambda row: (row[2], row[3]))
        headers = ["server", "form", "clients", "requests/s", "median ms", "p99 ms", "client's processors"]
        print_table(headers, rows, trained_models.BY_NAME[name].title)
    print("\n| model | form | clients | gateway, requests/s | best peer, requests/s | ratio | p99, ratio |")
    print("|---|---|---|---|---|---|---|")
    for name, results in everything.items():
        for line in lines(trained_models.BY_NAME[name], results):
            ratios[f"{name}: {line.form}, {line.clients}"] = line.ratio
            ratios[f"{name}: {line.form}, {line.clients}, p99"] = line.p99
            print(
                f"| {line.title} | {line.form} | {line.clients} | {line.ours:,.0f} | {line.best} {line.peer:,.0f} | "
                f"{line.ratio:.1f} | {line.p99:.2f} |"
            )
    return ratios


def run(directory: Path, options: argparse.Namespace) -> dict[str, Results]:
    """Measure all models."""
    peers = install(options)
    storage = directory / "storage"
    cases = tuple(trained_models.BY_NAME[name] for name in options.models)
    rows = trained_models.build(storage, cases)
    registry = Registry(RegistrySettings(str(storage)))
    everything: dict[str, Results] = {}
    with serving_servers.gateway(directory, storage, OURS) as gateway:
        for case in cases:
            began = time.monotonic()
            pipeline = models.load(registry, models.get(registry, case.name, "champion"))
            everything[case.name] = run_case(case, rows[case.name], pipeline, gateway, peers, directory, options)
            print(f"{case.title}: done in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return everything


def install(options: argparse.Namespace) -> dict[str, Path]:
    """Install the peers. Returns the `bin` folder of each."""
    found = {}
    for name in options.peers:
        try:
            found[name] = environment.install(options.environments, name, PEERS[name].requirements)
        except RuntimeError as error:
            print(error, file=sys.stderr, flush=True)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    unwind_on_signals()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each measurement lasts")
    parser.add_argument("--quick", action="store_true", help="two rounds of half a second, to see that it works")
    parser.add_argument("--models", nargs="*", choices=trained_models.BY_NAME, default=list(_MAIN))
    parser.add_argument("--forms", nargs="*", choices=_FORMS, default=list(_FORMS), help="forms for the gateway")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--environments", type=Path, default=Path(".venv-peers"), help="where the peers are installed")
    parser.add_argument("--install", action="store_true", help="install the peers, and measure nothing")
    parser.add_argument("--json", metavar="FILE", help="write the ratios here")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds = 2, 0.5
    options.environments = options.environments.absolute()
    if options.install:
        install(options)
        return
    with tempfile.TemporaryDirectory(prefix="mlops-benchmark-") as directory:
        everything = run(Path(directory), options)
    ratios = report(everything)
    if options.json:
        write_json(options.json, ratios)


if __name__ == "__main__":
    main()
