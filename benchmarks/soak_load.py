"""The load of the soak: predictions whose values are known, rewards for half of them, and a record of the answers.

    python -m benchmarks.soak_load PLAN RECORD SUMMARY --rate 500 --clients 16

It ends on SIGTERM. A line of the record is `p ID MODEL VALUE` for a prediction that was answered, `f ID` for a reward
that was acknowledged, and `u ID` for one that was not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import signal
import time
from collections import Counter, deque
from pathlib import Path
from typing import IO, Any

from airflow_provider_mlops.serving.traffic.connection import Connection, UnansweredError
from airflow_provider_mlops.serving.traffic.durations import Durations

_FEEDBACK_SECONDS = 0.5
_MAX_LABELS = 500


class Load:
    """Clients that send requests at a common rate.

    Parameters
    ----------
    plan
        URL, and for each model the bodies of its requests and the value of each by version.
    rate
        Requests a second; infinite to send as many as are answered.
    """

    def __init__(self, plan: dict[str, Any], record: IO[str], rate: float, clients: int) -> None:
        self._plan = plan
        self._record = record
        self._rate = rate
        self._clients = clients
        self._random = random.Random(1)
        self._requests = 0
        self._rewards: deque[str] = deque()
        self.outcomes: Counter[str] = Counter()
        self.latency = Durations()
        self.wrong: list[str] = []

    async def run(self) -> None:
        """Send until this task is canceled."""
        self._start = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(self._clients):
                group.create_task(self._client())
            group.create_task(self._reward())

    async def _client(self) -> None:
        connection = Connection(self._plan["url"], 30)
        while True:
            number, self._requests = self._requests, self._requests + 1
            await asyncio.sleep(max(0.0, self._start + number / self._rate - time.perf_counter()))
            model = self._random.choice(list(self._plan["models"]))
            row = self._random.randrange(len(self._plan["models"][model]["bodies"]))
            await self._ask(connection, model, row)

    async def _ask(self, connection: Connection, model: str, row: int) -> None:
        known = self._plan["models"][model]
        sent = time.perf_counter()
        try:
            answer = await connection.post(f"/models/{model}/invocations", known["bodies"][row].encode())
        except UnansweredError as error:
            self.outcomes[error.cause] += 1
            await asyncio.sleep(0.05)
            return
        if answer.status != 200:
            self.outcomes[str(answer.status)] += 1
            await asyncio.sleep(0.05)
            return
        self.latency.add(time.perf_counter() - sent)
        self.outcomes["answered"] += 1
        name = answer.headers[b"x-prediction-id"].decode()
        version = answer.headers[b"x-model-version"].decode()
        (value,) = json.loads(answer.content)["predictions"]
        if not math.isclose(value, known["values"][version][row], rel_tol=1e-9, abs_tol=1e-6):
            self.wrong.append(f"{model} version {version}: {value} for {known['values'][version][row]}")
        self._record.write(f"p {name} {model} {value!r}\n")
        if self._random.random() < 0.5:
            self._rewards.append(name)

    async def _reward(self) -> None:
        connection = Connection(self._plan["url"], 30)
        while True:
            await asyncio.sleep(_FEEDBACK_SECONDS)
            names = [self._rewards.popleft() for _ in range(min(_MAX_LABELS, len(self._rewards)))]
            if not names:
                continue
            entries = [{"prediction_id": name, "reward": float(int(name[-1], 16) % 2)} for name in names]
            try:
                answer = await connection.post("/feedback", json.dumps({"feedback": entries}).encode())
                is_acknowledged = answer.status == 200
            except UnansweredError:
                is_acknowledged = False
            self.outcomes["acknowledged rewards" if is_acknowledged else "rewards without an answer"] += len(names)
            self._record.writelines(f"{'f' if is_acknowledged else 'u'} {name}\n" for name in names)


async def play(load: Load) -> None:
    """Run until SIGTERM."""
    task = asyncio.ensure_future(load.run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await asyncio.wait([task])
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plan", type=Path)
    parser.add_argument("record", type=Path)
    parser.add_argument("summary", type=Path)
    parser.add_argument("--rate", type=float, default=math.inf)
    parser.add_argument("--clients", type=int, default=16)
    options = parser.parse_args()
    began = time.perf_counter()
    with options.record.open("w") as record:
        load = Load(json.loads(options.plan.read_text()), record, options.rate, options.clients)
        asyncio.run(play(load))
    summary = {
        "seconds": time.perf_counter() - began,
        "outcomes": load.outcomes,
        "milliseconds": load.latency.milliseconds(),
        "wrong": load.wrong[:10],
        "wrong_count": len(load.wrong),
    }
    options.summary.write_text(json.dumps(summary))


if __name__ == "__main__":
    main()
