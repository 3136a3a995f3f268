"""Measure how often rollouts of equal versions are wrong if latencies or error rates change with time.

In a canary and in a bandit the shares change as well, so over all requests the versions are compared at different
times. Latencies are compared within each step; the errors of a bandit are compared over all requests.

    python -m benchmarks.rollouts.changing_rates [--streams 2000] [--json FILE]
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass

import numpy as np

from airflow_provider_mlops.serving.rollouts.arm_statistics import LATENCY_EDGES
from airflow_provider_mlops.stats.bandits.reward_statistics import RewardStatistics
from airflow_provider_mlops.stats.sequences.prior_observations import prior_observations
from airflow_provider_mlops.stats.sequences.rate import log_evidence
from benchmarks.measure import print_table, write_json
from benchmarks.rollouts.bandit_decisions import EVERY, FLOOR, excludes_equality, probability_of_second

SHARES, QUANTILE, RATIO = (0.05, 0.25, 0.5), 0.5, 1.2
TOTAL = 30_000


def latency_streams(streams: int, factor: float, *, by_step: bool, seed: int) -> np.ndarray:
    """Return whether canaries of equal versions are rolled back if both become slower by `factor` at the last step."""
    generator, looks = np.random.default_rng(seed), 30
    edges = np.array(LATENCY_EDGES)
    edges = edges[(edges > 1) & (edges < 200)]
    counts = np.zeros((2, streams, len(SHARES), edges.size + 1))
    wrong = np.zeros(streams, dtype=bool)
    for look in range(looks):
        step = look * len(SHARES) // looks
        slower = 1.0 if step < len(SHARES) - 1 else factor
        own = generator.binomial(TOTAL // looks, SHARES[step], streams)
        for arm, number in ((0, TOTAL // looks - own), (1, own)):
            latency = generator.lognormal(2, 0.5, (streams, int(number.max()))) * slower
            cell = np.searchsorted(edges, latency) + np.arange(streams)[:, None] * (edges.size + 1)
            drawn = np.arange(latency.shape[1]) < number[:, None]
            new = np.bincount(cell[drawn], minlength=streams * (edges.size + 1))
            counts[arm, :, step] += new.reshape(streams, -1)
        parts = [counts[:, :, number] for number in range(step + 1)] if by_step else [counts.sum(axis=2)]
        for part in parts:
            low, high = quantile_bounds(edges, part, 0.05 / (2 * len(SHARES) if by_step else 2))
            wrong |= low[1] > RATIO * high[0]
    return wrong


def quantile_bounds(edges: np.ndarray, counts: np.ndarray, error: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the bounds of `quantile_sequence` for histograms in the last axis."""
    total = counts.sum(axis=-1, keepdims=True)
    within = np.cumsum(counts, axis=-1)[..., :-1]
    excluded = log_evidence(within, total, QUANTILE, prior_observations(1000, error)) >= -math.log(error)
    share = within / np.maximum(total, 1)
    low = np.where(excluded & (share < QUANTILE), edges, 0.0).max(axis=-1)
    high = np.where(excluded & (share > QUANTILE), edges, np.inf).min(axis=-1)
    return low, high


@dataclass(frozen=True)
class Errors:
    """Error rates of both versions of a bandit: usually, after a part of the requests, and in outages.

    In an outage, the last 1,000 of every 10,000 requests fail.
    """

    name: str
    usual: float = 0.01
    later: float = 0.01
    changes: float = 0.1
    outages: bool = False

    def rate(self, request: int) -> float:
        """Return the error rate at the number of a request."""
        if self.outages and request % 10_000 >= 9_000:
            return 1.0
        return self.usual if request < self.changes * TOTAL else self.later


ERRORS = (
    Errors("1 %"),
    Errors("1 %, after a tenth of the requests 5 %", later=0.05),
    Errors("5 %, after a tenth of the requests 1 %", usual=0.05),
    Errors("1 %, outages", outages=True),
)


def bandit_streams(case: Errors, streams: int, seed: int) -> np.ndarray:
    """Return whether each bandit of versions that fail equally often ever finds that one of them fails more often.

    The second version earns a reward in 15 % of its requests and the first one in 10 %, so it gets more and more.
    """
    generator = np.random.default_rng(seed)
    known, failures = RewardStatistics.empty(streams, 2), np.zeros((streams, 2))
    found = np.zeros(streams, dtype=bool)
    for look in range(0, TOTAL, EVERY):
        second = generator.binomial(EVERY, FLOOR + (1 - 2 * FLOOR) * probability_of_second(known, revenue=False))
        counts = np.stack([EVERY - second, second], axis=1)
        won = generator.binomial(counts, (0.1, 0.15)).astype(float)
        known = known + RewardStatistics(counts.astype(float), won, won - won**2 / np.maximum(counts, 1))
        failures += generator.binomial(counts, case.rate(look))
        found |= excludes_equality(RewardStatistics(known.count, failures, failures), revenue=False)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--json", help="write the results by name to this file")
    arguments = parser.parse_args()
    results: dict[str, float] = {}
    rows: list[list[object]] = []
    for factor in (1.0, 2.0, 3.0):
        together, by_step = (
            float(latency_streams(arguments.streams, factor, by_step=by_step, seed=1).mean())
            for by_step in (False, True)
        )
        name = f"median latency times {factor:g} at the last step"
        rows.append([name, f"{100 * together:.1f} %", f"{100 * by_step:.1f} %"])
        results |= {f"{name}, together": together, f"{name}, by step": by_step}
    title = f"{arguments.streams:,} null streams; at most 5.0 % may be rolled back"
    print_table(["canary of equal versions", "all steps together", "by step"], rows, title)
    rows = []
    for case in ERRORS:
        found = float(bandit_streams(case, arguments.streams, seed=1).mean())
        rows.append([case.name, f"{100 * found:.1f} %"])
        results[f"errors {case.name}"] = found
    print_table(["errors of both versions of a bandit", "a difference"], rows, "At most 5.0 % may find a difference")
    if arguments.json:
        write_json(arguments.json, results)


if __name__ == "__main__":
    main()
