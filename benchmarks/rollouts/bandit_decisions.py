"""Measure how often bandits declare a wrong winner.

By their sequential test, by one of the sums of all rewards, which takes the mean rewards for constant, and by the
probability of being the best. Thompson sampling with two versions, checked every 200 rewards. A winner is wrong if it
is the worse version, or if both are the same. Rewards arrive at once, or 1,000 requests late.

    python -m benchmarks.rollouts.bandit_decisions [--streams 2000] [--json FILE]
"""

from __future__ import annotations

import argparse
import math
from collections import deque
from dataclasses import dataclass

import numpy as np
from scipy import special

from airflow_provider_mlops.stats.bandits.reward_statistics import RewardStatistics
from airflow_provider_mlops.stats.sequences.clusters import (
    CLUSTERS,
    ClusterSums,
    clustered_difference,
    information_radius,
)
from airflow_provider_mlops.stats.sequences.mean import FIRST_LOOK, difference_radius
from airflow_provider_mlops.stats.sequences.prior_observations import prior_observations
from airflow_provider_mlops.stats.sequences.rate import log_evidence
from benchmarks.measure import print_table, write_json

EVERY, FLOOR, LIMIT = 200, 0.1, 0.99
EXPECTED, CHUNK = 1000, 100
RULES = ("test", "sums", "probability")
WEIGHT = prior_observations(1000, 0.05)


@dataclass(frozen=True)
class Case:
    """Rates of two versions, also in the second half, and the size of a reward: 1, or log-normal revenue."""

    name: str
    rates: tuple[float, float]
    revenue: bool = False
    later: tuple[float, float] | None = None
    late: int = 0
    total: int = 30_000


CASES = (
    Case("rates 0.10 and 0.10", (0.1, 0.1)),
    Case("rates 0.10 and 0.10, later 0.20", (0.1, 0.1), later=(0.2, 0.2)),
    Case("rates 0.20 and 0.20, later 0.05", (0.2, 0.2), later=(0.05, 0.05)),
    Case("rates 0.10 and 0.101", (0.1, 0.101)),
    Case("rates 0.10 and 0.12", (0.1, 0.12)),
    Case("rates 0.10 and 0.15", (0.1, 0.15)),
    Case("rates 0.10 and 0.15, 1,000 requests late", (0.1, 0.15), late=1000),
    Case("rates 0.10 and 0.10, 1,000 requests late", (0.1, 0.1), late=1000),
    Case("log-normal revenue, 90 % zeros, the same", (0.1, 0.1), revenue=True),
    Case("log-normal revenue, 90 % zeros, 1 % apart", (0.1, 0.101), revenue=True),
    Case("log-normal revenue, 90 % zeros, 50 % apart", (0.1, 0.15), revenue=True),
)


def probability_of_second(statistics: RewardStatistics, *, revenue: bool) -> np.ndarray:
    """Return the probability that the second version is the best, by a normal approximation of the posteriors."""
    n = np.maximum(statistics.count, 1)
    if revenue:
        spread = (2 + statistics.deviations) / (2 + n)
        mean = statistics.total / n
        variance = spread / n
    else:
        a, b = 1 + statistics.total, 1 + statistics.count - statistics.total
        mean, variance = a / (a + b), a * b / ((a + b) ** 2 * (a + b + 1))
    return np.asarray(special.ndtr((mean[:, 1] - mean[:, 0]) / np.sqrt(variance.sum(axis=1))))


def excludes_equality(statistics: RewardStatistics, *, revenue: bool) -> np.ndarray:
    """Return whether a sequential test of the sums of all rewards at 95 % finds a difference."""
    if revenue:
        n = np.maximum(statistics.count, 2)
        own = statistics.deviations / (n - 1)
        pooled = statistics.deviations.sum(axis=1, keepdims=True) / (n.sum(axis=1, keepdims=True) - 2)
        radius = difference_radius(n, np.maximum(own, pooled))
        mean = statistics.total / n
        enough = statistics.count.min(axis=1) >= FIRST_LOOK
        return np.asarray(enough & (np.abs(mean[:, 1] - mean[:, 0]) > radius))
    s, n = statistics.total, statistics.count
    low, high, rows = np.zeros(len(s)), np.ones(len(s)), np.arange(len(s))
    for _ in range(5):
        rate = low[:, None] + (high - low)[:, None] * np.linspace(0, 1, 11)
        evidence = sum(log_evidence(s[:, [arm]], n[:, [arm]], rate, WEIGHT) for arm in (0, 1))
        best = np.argmin(evidence, axis=1)
        low, high = rate[rows, np.maximum(best - 1, 0)], rate[rows, np.minimum(best + 1, 10)]
    return np.asarray(evidence.min(axis=1) >= -math.log(0.05))


@dataclass
class _Rewards:
    """Rewards of both versions: their moments, and their sums in clusters, weighted by inverse propensities."""

    moments: RewardStatistics
    sums: np.ndarray

    def __add__(self, other: _Rewards) -> _Rewards:
        return _Rewards(self.moments + other.moments, self.sums + other.sums)

    @classmethod
    def drawn(cls, case: Case, share: np.ndarray, part: float, generator: np.random.Generator) -> _Rewards:
        """Draw the rewards of the requests of a look, of which the second version gets a share."""
        shape = (len(share), EVERY)
        second = generator.random(shape) < share[:, None]
        rates = case.rates if part < 0.5 or case.later is None else case.later
        value = (generator.random(shape) < np.where(second, rates[1], rates[0])).astype(float)
        if case.revenue:
            value *= generator.lognormal(0, 1, shape)
        weight = 1 / np.where(second, share[:, None], 1 - share[:, None])
        flat = np.arange(len(share))[:, None] * CLUSTERS + generator.integers(0, CLUSTERS, shape)
        sums, moments = np.zeros((2, 2, len(share), 1, CLUSTERS)), np.zeros((3, len(share), 2))
        for arm, mask in enumerate((~second, second)):
            for kind, each in enumerate((weight, weight * value)):
                new = np.bincount(flat.ravel(), weights=(each * mask).ravel(), minlength=len(share) * CLUSTERS)
                sums[arm, kind, :, 0] = new.reshape(len(share), CLUSTERS)
            count, total, squares = ((mask * value**power).sum(axis=1) for power in (0, 1, 2))
            moments[:, :, arm] = count, total, squares - total**2 / np.maximum(count, 1)
        return cls(RewardStatistics(*moments), sums)

    def differ(self, expected_variance: float) -> np.ndarray:
        """Return whether the test of a bandit at 95 % finds a difference."""
        estimate = clustered_difference(ClusterSums(*self.sums[1]), ClusterSums(*self.sums[0]))
        return np.asarray(np.abs(estimate.value) > information_radius(estimate, expected_variance=expected_variance))


def simulate(case: Case, streams: int, seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the winner (-1 without one) and the requests until then of each stream, for each rule."""
    parts = [
        _simulate(case, min(CHUNK, streams - start), np.random.default_rng((seed, start)))
        for start in range(0, streams, CHUNK)
    ]
    return {
        rule: (np.concatenate([part[rule][0] for part in parts]), np.concatenate([part[rule][1] for part in parts]))
        for rule in RULES
    }


def _simulate(case: Case, streams: int, generator: np.random.Generator) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    known = _Rewards(RewardStatistics.empty(streams, 2), np.zeros((2, 2, streams, 1, CLUSTERS)))
    waiting: deque[_Rewards] = deque()
    ends = {rule: (np.full(streams, -1), np.full(streams, np.inf)) for rule in RULES}
    expected_variance = 2 * np.var([1.0] + [0.0] * 9) / EXPECTED
    for look in range(EVERY, case.total + 1, EVERY):
        share = FLOOR + (1 - 2 * FLOOR) * probability_of_second(known.moments, revenue=case.revenue)
        waiting.append(_Rewards.drawn(case, share, (look - EVERY) / case.total, generator))
        if len(waiting) * EVERY > case.late:
            known = known + waiting.popleft()
        moments = known.moments
        probability = probability_of_second(moments, revenue=case.revenue)
        enough = moments.count.min(axis=1) >= 50
        sums = excludes_equality(moments, revenue=case.revenue)
        found = {
            # Rewards that are not binary are compared by their sums.
            "test": sums if case.revenue else known.differ(expected_variance),
            "sums": sums,
            "probability": enough & (np.maximum(probability, 1 - probability) >= LIMIT),
        }
        best = np.argmax(moments.mean, axis=1)
        for rule, (winner, requests) in ends.items():
            new = found[rule] & (winner < 0)
            winner[new], requests[new] = best[new], look
    return ends


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--json", help="write the results by name to this file")
    arguments = parser.parse_args()
    rows: list[list[object]] = []
    results: dict[str, float] = {}
    for case in CASES:
        row: list[object] = [case.name]
        for rule, (winner, requests) in simulate(case, arguments.streams, 1).items():
            is_wrong = (winner >= 0) & ((winner == 0) | (case.rates[0] == case.rates[1]))
            wrong, right = float(is_wrong.mean()), float(((winner >= 0) & ~is_wrong).mean())
            median = float(np.quantile(requests, 0.5, method="higher"))
            row += [f"{100 * wrong:.1f} %", f"{100 * right:.1f} %", int(median) if math.isfinite(median) else "–"]
            results |= {f"{case.name}, {rule}: wrong": wrong, f"{case.name}, {rule}: right": right}
        rows.append(row)
    rules = ("test", "sums", f"probability {LIMIT}")
    headers = ["rewards", *(name for rule in rules for name in (f"{rule}: wrong", "right", "median"))]
    print_table(headers, rows, f"Winners within 30,000 requests, {arguments.streams:,} streams; at most 5.0 % wrong")
    if arguments.json:
        write_json(arguments.json, results)


if __name__ == "__main__":
    main()
