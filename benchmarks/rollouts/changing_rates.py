"""Measure how often rollouts of equal versions are wrong if error rates, latencies or rewards change with time.

In a canary and in a bandit the shares change as well, so over all requests the versions are compared at different
times. The comparisons of the gates are compared with those of sums over all times.

    python -m benchmarks.rollouts.changing_rates [--streams 2000] [--json FILE]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from airflow_provider_mlops.serving.rollouts.arm_statistics import LATENCY_EDGES
from airflow_provider_mlops.stats.bandits.reward_statistics import RewardStatistics
from airflow_provider_mlops.stats.sequences.clusters import (
    CLUSTERS,
    ClusterSums,
    clustered_difference,
    information_radius,
    variance_to_detect,
)
from airflow_provider_mlops.stats.sequences.prior_observations import prior_observations
from airflow_provider_mlops.stats.sequences.rate import log_evidence
from benchmarks.measure import print_table, write_json
from benchmarks.rollouts.bandit_decisions import EVERY, FLOOR, excludes_equality, probability_of_second

SHARES, QUANTILE, RATIO = (0.05, 0.25, 0.5), 0.95, 1.2
TOTAL, CHUNK = 30_000, 100


def changed(start: float, end: float, part: float) -> float:
    """Return a rate that is `start` in the first half and `end` in the second one."""
    return start if part < 0.5 else end


def latency_streams(streams: int, factor: float, *, by_step: bool, seed: int) -> np.ndarray:
    """Return whether each canary of equal versions is rolled back, if both become slower by `factor` halfway."""
    generator, looks = np.random.default_rng(seed), 30
    edges = np.array(LATENCY_EDGES)
    edges = edges[(edges > 1) & (edges < 200)]
    counts = np.zeros((2, streams, len(SHARES), edges.size + 1))
    wrong = np.zeros(streams, dtype=bool)
    for look in range(looks):
        step = look * len(SHARES) // looks
        slower = changed(1.0, factor, look / looks)
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
class Bandit:
    """Rewards and errors of two versions of a bandit, in the first half of the requests and in the second one."""

    name: str
    rewards: tuple[float, float]
    rewards_later: tuple[float, float]
    error: float = 0.01
    error_later: float = 0.01


BANDITS = (
    Bandit("constant rates", (0.1, 0.1), (0.1, 0.1)),
    Bandit("rewards rise from 10 to 20 %", (0.1, 0.1), (0.2, 0.2)),
    Bandit("rewards fall from 20 to 5 %", (0.2, 0.2), (0.05, 0.05)),
    Bandit("errors rise from 1 to 5 %, one version earns more", (0.1, 0.15), (0.1, 0.15), 0.01, 0.05),
    Bandit("errors fall from 5 to 1 %, one version earns more", (0.1, 0.15), (0.1, 0.15), 0.05, 0.01),
)


def bandit_streams(
    bandit: Bandit, streams: int, seed: int
) -> Iterator[
    tuple[int, RewardStatistics, np.ndarray, tuple[ClusterSums, ClusterSums], tuple[ClusterSums, ClusterSums]]
]:
    """Yield requests, rewards and errors at each look, and the sums of rewards and errors by inverse propensities."""
    generator = np.random.default_rng(seed)
    known = RewardStatistics.empty(streams, 2)
    errors = np.zeros((streams, 2))
    sums = np.zeros((2, 3, streams, 1, CLUSTERS))
    rows = np.arange(streams)[:, None]
    for look in range(EVERY, TOTAL + 1, EVERY):
        part = (look - EVERY) / TOTAL
        share = FLOOR + (1 - 2 * FLOOR) * probability_of_second(known, revenue=False)
        second = generator.random((streams, EVERY)) < share[:, None]
        rates = bandit.rewards if part < 0.5 else bandit.rewards_later
        won = generator.random(second.shape) < np.where(second, rates[1], rates[0])
        failed = generator.random(second.shape) < changed(bandit.error, bandit.error_later, part)
        weight = 1 / np.where(second, share[:, None], 1 - share[:, None])
        flat = (rows * CLUSTERS + generator.integers(0, CLUSTERS, second.shape)).ravel()
        for arm, mask in enumerate((~second, second)):
            for kind, value in enumerate((weight, weight * won, weight * failed)):
                new = np.bincount(flat, weights=(value * mask).ravel(), minlength=streams * CLUSTERS)
                sums[arm, kind, :, 0] += new.reshape(streams, CLUSTERS)
            errors[:, arm] += (failed & mask).sum(axis=1)
        count = np.stack([(~second).sum(axis=1), second.sum(axis=1)], axis=1).astype(float)
        total = np.stack([(won & ~second).sum(axis=1), (won & second).sum(axis=1)], axis=1).astype(float)
        known = known + RewardStatistics(count, total, total - total**2 / np.maximum(count, 1))
        rewards, failures = (
            (ClusterSums(sums[1, 0], sums[1, kind]), ClusterSums(sums[0, 0], sums[0, kind])) for kind in (1, 2)
        )
        yield look, known, errors, rewards, failures


def differs(sums: tuple[ClusterSums, ClusterSums], expected_variance: float) -> np.ndarray:
    """Return whether the rates of both versions differ for certain, as weighted sums of clusters."""
    estimate = clustered_difference(*sums, is_rate=True)
    return np.asarray(np.abs(estimate.value) > information_radius(estimate, expected_variance=expected_variance))


def of_bandit(bandit: Bandit, streams: int, seed: int) -> dict[str, np.ndarray]:
    """Return the requests until each rule finds a difference of rewards or of errors, infinite if it does not."""
    names = ("rewards, sums", "rewards, weighted", "errors, sums", "errors, weighted")
    found = {name: [] for name in names}
    for start in range(0, streams, CHUNK):
        size = min(CHUNK, streams - start)
        ends = {name: np.full(size, np.inf) for name in names}
        for look, known, errors, rewards, failures in bandit_streams(bandit, size, seed + start):
            failed = RewardStatistics(known.count, errors, errors - errors**2 / np.maximum(known.count, 1))
            verdicts = (
                excludes_equality(known, revenue=False),
                differs(rewards, variance_to_detect(0.02)),
                excludes_equality(failed, revenue=False),
                differs(failures, variance_to_detect(0.01)),
            )
            for name, verdict in zip(names, verdicts, strict=True):
                ends[name] = np.where(verdict & np.isinf(ends[name]), look, ends[name])
        for name in names:
            found[name].append(ends[name])
    return {name: np.concatenate(parts) for name, parts in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--json", help="write the results by name to this file")
    arguments = parser.parse_args()
    results: dict[str, float] = {}
    rows: list[list[object]] = []
    for factor in (1.0, 2.0, 0.5):
        shares = [
            float(latency_streams(arguments.streams, factor, by_step=by_step, seed=1).mean())
            for by_step in (False, True)
        ]
        rows.append([f"latencies times {factor:g} halfway", *(f"{100 * share:.1f} %" for share in shares)])
        results[f"latencies times {factor:g}"] = shares[1]
    print_table(
        ["canary of equal versions", "all steps together", "by step"], rows, f"{arguments.streams:,} null streams"
    )
    rows = []
    for bandit in BANDITS:
        found = of_bandit(bandit, arguments.streams, seed=1)
        shown = [f"{100 * np.isfinite(ends).mean():.1f} %" for ends in found.values()]
        medians = [np.quantile(ends, 0.5, method="higher") for ends in found.values()]
        rows.append([bandit.name, *shown, *(f"{value:,.0f}" if np.isfinite(value) else "–" for value in medians[:2])])
        results |= {f"{bandit.name}: {name}": float(np.isfinite(ends).mean()) for name, ends in found.items()}
    names = ("rewards, sums", "rewards, weighted", "errors, sums", "errors, weighted", "median", "median, weighted")
    print_table(["bandit", *names], rows, "Differences found; at most 5.0 % of those that do not exist")
    if arguments.json:
        write_json(arguments.json, results)


if __name__ == "__main__":
    main()
