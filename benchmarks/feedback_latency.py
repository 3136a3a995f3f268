"""How much slower do predictions become while 12 MB of labels arrive? One gateway process, one client for each.

One client sends predictions at a steady rate. In every other round, a second client sends large bodies of labels
meanwhile, one after another. What the rounds have in common is the machine: compare them with each other only.

    python -m benchmarks.feedback_latency [--rounds 3] [--seconds 10] [--megabytes 12] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import secrets
import statistics
import sys
import tempfile
import time
from pathlib import Path

from airflow_provider_mlops.serving.log import prediction_id
from airflow_provider_mlops.serving.traffic.connection import Connection
from benchmarks import serving_models, serving_servers
from benchmarks.measure import machine, print_table, unwind_on_signals, versions, write_json

RATE = 20.0


def labels(megabytes: float) -> bytes:
    """Return a body of about this size, with labels for predictions that never happened."""
    start = prediction_id.new()[:12]
    entry = len(json.dumps({"prediction_id": "0" * 32, "label": "1"})) + 2
    count = int(megabytes * 1e6 / entry)
    return json.dumps(
        {"feedback": [{"prediction_id": start + secrets.token_hex(10), "label": "1"} for _ in range(count)]}
    ).encode()


async def predict(url: str, body: bytes, seconds: float) -> list[float]:
    """Send predictions at a steady rate if they are answered in time, and return the milliseconds that each took."""
    connection = Connection(url, 60)
    end, found = time.perf_counter() + seconds, []
    while (sent := time.perf_counter()) < end:
        answer = await connection.post(f"/models/{serving_models.LOGISTIC}/invocations", body)
        if answer.status != 200:
            raise RuntimeError(f"A prediction was answered with {answer.status}: {answer.content[:200]!r}")
        found.append((time.perf_counter() - sent) * 1000)
        await asyncio.sleep(1 / RATE)
    connection.close()
    return found


async def upload(url: str, body: bytes) -> None:
    """Send labels until canceled."""
    connection = Connection(url, 120)
    while True:
        answer = await connection.post("/feedback", body)
        if answer.status != 200:
            raise RuntimeError(f"Labels were answered with {answer.status}: {answer.content[:200]!r}")


async def measure(url: str, body: bytes, content: bytes | None, seconds: float) -> list[float]:
    """Measure predictions for some seconds, with uploads of `content` if it is given."""
    uploads = None if content is None else asyncio.create_task(upload(url, content))
    try:
        return await predict(url, body, seconds)
    finally:
        if uploads is not None:
            uploads.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await uploads


def main() -> None:
    """The command line."""
    unwind_on_signals()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--megabytes", type=float, default=12.0)
    parser.add_argument("--json", metavar="FILE", help="write the milliseconds here")
    options = parser.parse_args()
    print(", ".join(f"{name}: {value}" for name, value in machine().items()))
    print(", ".join(f"{name} {version}" for name, version in versions().items()))
    content = labels(options.megabytes)
    found: dict[bool, list[list[float]]] = {False: [], True: []}
    with tempfile.TemporaryDirectory(prefix="mlops-benchmark-") as directory:
        storage = Path(directory) / "storage"
        body = serving_models.build(storage, Path(directory))[serving_models.LOGISTIC].read_bytes()
        with serving_servers.gateway(Path(directory), storage, "gateway", "--model", serving_models.LOGISTIC) as server:
            for number in range(options.rounds):
                for with_labels in (False, True):
                    times = asyncio.run(measure(server.url, body, content if with_labels else None, options.seconds))
                    found[with_labels].append(times)
                print(f"round {number + 1} of {options.rounds} is done", file=sys.stderr, flush=True)

    def median(with_labels: bool, percent: int) -> float:
        return statistics.median(statistics.quantiles(times, n=100)[percent - 1] for times in found[with_labels])

    rows = [
        (name, *(median(with_labels, percent) for percent in (50, 90, 99)))
        for name, with_labels in (("predictions only", False), (f"with {options.megabytes:g} MB of labels", True))
    ]
    print_table(["traffic", "median ms", "p90 ms", "p99 ms"], rows, "Medians of the rounds")
    rise = rows[1][3] - rows[0][3]
    print(f"p99 rises by {rise:.1f} ms")
    if options.json:
        write_json(options.json, {"p99_ms": rows[0][3], "p99_ms_with_labels": rows[1][3], "rise_ms": rise})


if __name__ == "__main__":
    main()
