"""How large does the rollout store become? Hours of answers and rewards, written by the code that a gateway uses.

Time is simulated: each step of a minute adds its answers and the rewards that arrive in it, and lets a gateway delete
what has waited too long. `--scale 100` simulates a hundredth of the requests and multiplies the sizes; what one request
takes does not depend on their number. The exit code is 1 if a store would become larger than `--limit-gb`.

    python -m benchmarks.store_size [--hours 10] [--rate 500] [--scale 100] [--no-ageing] [--json FILE]
"""

from __future__ import annotations

import argparse
import heapq
import random
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from sqlalchemy import text

from airflow_provider_mlops.data.task_identity import TaskIdentity
from airflow_provider_mlops.serving.rollouts.evidence.ageing import Ageing
from airflow_provider_mlops.serving.rollouts.evidence.evidence_delta import Decision, EvidenceDelta, Feedback
from airflow_provider_mlops.serving.rollouts.evidence.evidence_writer import BEGINNING, write_evidence
from airflow_provider_mlops.serving.rollouts.plan.reward import Reward
from airflow_provider_mlops.serving.rollouts.plan.strategies import BanditStrategy
from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan
from airflow_provider_mlops.serving.rollouts.store import RolloutStore
from benchmarks.measure import machine, print_table, versions, write_json

MINUTE = 60.0
BATCH = 10_000


@dataclass(frozen=True)
class Scenario:
    """Traffic whose rewards take an exponentially distributed time.

    Parameters
    ----------
    rewarded
        Share of the answers that get a reward.
    delay
        Mean time until the reward.
    strangers
        Rewards for predictions that never happened, for each answer.
    """

    name: str
    rewarded: float
    delay: timedelta
    window: timedelta
    strangers: float = 0.0


SCENARIOS = (
    Scenario("every answer is rewarded after 10 minutes", 1.0, timedelta(minutes=10), timedelta(days=1)),
    Scenario("1 of 2 is rewarded after an hour, window 2 hours", 0.5, timedelta(hours=1), timedelta(hours=2)),
    Scenario("1 of 10 is rewarded after 10 minutes, window 1 hour", 0.1, timedelta(minutes=10), timedelta(hours=1)),
    Scenario("1 of 10 is rewarded, window 1 day", 0.1, timedelta(minutes=10), timedelta(days=1)),
    Scenario("no answer is rewarded, window 1 day", 0.0, timedelta(0), timedelta(days=1)),
    Scenario("strangers send as many rewards", 1.0, timedelta(minutes=10), timedelta(hours=1), strangers=1.0),
)


@dataclass
class Simulation:
    """A store, a gateway that writes to it, and a clock.

    Parameters
    ----------
    rate
        Simulated answers a second.
    """

    path: Path
    scenario: Scenario
    rate: float
    is_ageing: bool = True
    random: random.Random = field(default_factory=lambda: random.Random(1))

    def __post_init__(self) -> None:
        self.store = RolloutStore(f"sqlite:///{self.path}")
        plan = RolloutPlan(
            champion=1, candidates=(2,), strategy=BanditStrategy(), reward=Reward(window=self.scenario.window)
        )
        by = TaskIdentity(dag_id="benchmark", run_id="1", task_id="rollout")
        self.rollout = self.store.start("churn", plan, by)
        self.now = time.time()
        self.plans: dict[str, RolloutPlan | None] = {self.rollout.id: plan}
        self.ageing = Ageing(self.store.engine, monotonic=lambda: self.now, wall=lambda: self.now)
        self.cursor = BEGINNING
        self.answers = self.rewards = self.strangers = 0
        self._due: list[tuple[float, bytes]] = []

    def minute(self) -> None:
        """Let a minute pass."""
        delta = self._delta()
        for _ in range(round(self.rate * MINUTE)):
            self._answer(delta)
            delta = self._flush(delta)
        while self._due and self._due[0][0] <= self.now:
            self._reward(delta, heapq.heappop(self._due)[1])
            delta = self._flush(delta)
        self._flush(delta, whatever=True)
        self.now += MINUTE
        if self.is_ageing:
            self.ageing.run()

    def bytes(self) -> int:
        """Return the size of the database, to which SQLite adds a journal of 64 MiB at most."""
        with self.store.engine.reading() as connection:
            pages, size = (connection.scalar(text(f"PRAGMA {name}")) for name in ("page_count", "page_size"))
        return int(pages * size)

    def counted(self) -> int:
        """Return the number of rewards that the store has counted."""
        return sum(arm.reward_count for arm in self.store.statistics(self.rollout.id).values())

    def _delta(self) -> EvidenceDelta:
        return EvidenceDelta(self.plans.get)

    def _id(self) -> bytes:
        made = self.now + self.random.random() * MINUTE
        return int(made * 1000).to_bytes(6) + self.random.randbytes(10)

    def _answer(self, delta: EvidenceDelta) -> None:
        name, arm = self._id(), self.random.randrange(2)
        delta.decisions.append(Decision(name, self.rollout.id, 0, arm, 1, None, None))
        self.answers += 1
        if self.random.random() < self.scenario.rewarded:
            delay = self.random.expovariate(1.0) * self.scenario.delay.total_seconds()
            heapq.heappush(self._due, (self.now + delay, name))
        if self.random.random() < self.scenario.strangers:
            delta.feedback.append(Feedback(self._id(), -1, None, 1.0, int(self.now * 1e6)))
            self.strangers += 1

    def _reward(self, delta: EvidenceDelta, name: bytes) -> None:
        delta.feedback.append(Feedback(name, -1, None, float(self.random.randrange(2)), int(self.now * 1e6)))
        self.rewards += 1

    def _flush(self, delta: EvidenceDelta, *, whatever: bool = False) -> EvidenceDelta:
        if not whatever and len(delta.decisions) + len(delta.feedback) < BATCH:
            return delta
        after = (1, self.cursor[1] + 1)
        write_evidence(self.store.engine, "benchmark", delta, (self.cursor, after), self.plans)
        self.cursor = after
        return self._delta()


def run(
    directory: Path, scenario: Scenario, hours: float, rate: float, scale: float, is_ageing: bool
) -> dict[str, float]:
    """Simulate one scenario, and return sizes of the unscaled store in MB."""
    simulation = Simulation(directory / "rollouts.db", scenario, rate / scale, is_ageing)
    empty, sizes, began = simulation.bytes(), [], time.monotonic()
    for _ in range(round(hours * 60)):
        simulation.minute()
        sizes.append((simulation.bytes() - empty) * scale / 1e6)
    half = sizes[len(sizes) // 2]
    result = {
        "answers": simulation.answers * scale,
        "rewards": simulation.rewards * scale,
        "counted": simulation.counted() * scale,
        "mb_at_half": half,
        "mb_at_end": sizes[-1],
        "mb_largest": max(sizes),
        "bytes_per_request": sizes[-1] * 1e6 / (simulation.answers * scale),
        "growth_of_second_half": sizes[-1] / half - 1 if half else 0.0,
        "seconds": time.monotonic() - began,
    }
    simulation.store.close()
    for file in directory.glob("rollouts.db*"):
        file.unlink()
    return result


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=500.0, help="requests a second")
    parser.add_argument("--scale", type=float, default=100.0, help="simulate one of so many requests")
    parser.add_argument("--limit-gb", type=float, default=1.0)
    parser.add_argument("--only", type=int, help="number of the only scenario to simulate, from 1")
    parser.add_argument("--no-ageing", action="store_true", help="let nothing be deleted because it waited too long")
    parser.add_argument("--json", metavar="FILE", help="write the sizes here")
    options = parser.parse_args()
    print(", ".join(f"{name}: {value}" for name, value in machine().items()))
    print(", ".join(f"{name} {version}" for name, version in versions().items()))
    scenarios = SCENARIOS if options.only is None else SCENARIOS[options.only - 1 : options.only]
    results = {}
    for scenario in scenarios:
        with tempfile.TemporaryDirectory(prefix="mlops-benchmark-") as directory:
            results[scenario.name] = run(
                Path(directory), scenario, options.hours, options.rate, options.scale, not options.no_ageing
            )
    print_table(
        ["traffic", "MB at half time", "MB at the end", "growth since", "bytes a request", "rewards counted"],
        [
            (
                name,
                result["mb_at_half"],
                result["mb_at_end"],
                f"{result['growth_of_second_half']:+.0%}",
                result["bytes_per_request"],
                f"{result['counted']:,.0f} of {result['rewards']:,.0f}",
            )
            for name, result in results.items()
        ],
        f"Rollout store after {options.hours:g} hours of {options.rate:g} requests a second",
    )
    if options.json:
        write_json(options.json, {name: result["mb_at_end"] for name, result in results.items()})
    too_large = [name for name, result in results.items() if result["mb_largest"] > options.limit_gb * 1000]
    for name in too_large:
        print(f"Larger than {options.limit_gb:g} GB: {name}", file=sys.stderr)
    return 1 if too_large else 0


if __name__ == "__main__":
    sys.exit(main())
