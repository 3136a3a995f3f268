"""Measure how often comparisons of clustered traffic are wrong, and what they cost, if they are checked at many looks.

Null streams: both versions are the same; a comparison at 95 % may find a difference in at most 5 % of them. Power:
requests until half of the streams with a true difference have found it, divided by those of a test that looks once,
with a power of 80 % and the same clusters.

    python -m benchmarks.rollouts.clustered_rollouts [--streams 2000] [--json FILE]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from airflow_provider_mlops.stats.sequences.clusters import (
    CLUSTERS,
    ClusteredEstimate,
    ClusterSums,
    clustered_difference,
    information_radius,
    variance_to_detect,
)
from benchmarks.measure import print_table, write_json

MEASURES = ("error rate", "latency", "mean", "binary")
RATES = {"error rate": 0.02, "latency": 0.05, "binary": 0.1}
CHUNK = 100
POWER_Z = 1.96 + 0.84
LOOKS, FEW = 70, 300


@dataclass(frozen=True)
class Traffic:
    """How requests depend on each other.

    Parameters
    ----------
    users
        Number of users, each with an arm for the whole rollout; None if every request is assigned at random.
    rows
        Rewards of a request; a request's rewards are all alike with a probability of one half.
    steps
        Shares of the candidate, each for an equal part of the looks. Users move to the candidate as it grows.
    """

    name: str
    users: int | None
    rows: int = 1
    steps: tuple[float, ...] = (0.5,)


TRAFFIC = (
    Traffic("10 rows per request", None, rows=10),
    Traffic("300 users", 300),
    Traffic("2,000 users", 2000),
    Traffic("2,000 users, canary steps", 2000, steps=(0.1, 0.25, 0.5)),
)


def units_of(measure: str, effect: float, shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    """Return the expected value of each unit: rates from a beta distribution with an intraclass correlation of 0.1.

    For means, a standard normal deviation of the unit. `effect` is the difference of the candidate.
    """
    if measure == "mean":
        return generator.standard_normal(shape) * 0.5 + effect
    rate, strength = RATES[measure] + effect, 9.0
    return generator.beta(rate * strength, (1 - rate) * strength, shape)


def values_of(measure: str, counts: np.ndarray, units: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return the sums of the values that units add with this number of observations."""
    if measure == "mean":
        # Log-normal values around the unit's own mean, with a standard deviation of about one.
        noise = generator.gamma(np.maximum(counts, 1e-9)) - counts
        return counts * units + noise
    return generator.binomial(counts, units).astype(float)


def looks_of(
    traffic: Traffic, measure: str, streams: int, looks: np.ndarray, effect: float, generator: np.random.Generator
) -> Iterator[tuple[ClusterSums, ClusterSums]]:
    """Yield the sums of candidate and champion at each look, for many streams at once; `looks` counts observations."""
    strata = len(traffic.steps)
    sums = np.zeros((2, 2, streams, strata, CLUSTERS))
    added = np.diff(looks, prepend=0)
    if traffic.users is not None:
        shape = (streams, traffic.users)
        uniform, cluster = generator.random(shape), generator.integers(0, CLUSTERS, shape)
        activity = generator.gamma(1.0, size=shape)
        activity /= activity.sum(axis=1, keepdims=True)
        # A version changes all its users by the same amount.
        state = generator.bit_generator.state
        equal = units_of(measure, 0.0, shape, generator)
        generator.bit_generator.state = state
        better = units_of(measure, effect, shape, generator)
        flat = np.arange(streams)[:, None] * CLUSTERS + cluster
        for number, more in enumerate(added):
            step = number * strata // len(looks)
            chosen = uniform < traffic.steps[step]
            counts = generator.poisson(activity * more)
            values = values_of(measure, counts, np.where(chosen, better, equal), generator)
            for arm, mask in enumerate((~chosen, chosen)):
                for kind, part in enumerate((counts, values)):
                    new = np.bincount(flat.ravel(), weights=(part * mask).ravel(), minlength=streams * CLUSTERS)
                    sums[arm, kind, :, step] += new.reshape(streams, CLUSTERS)
            yield ClusterSums(*sums[1]), ClusterSums(*sums[0])
    else:
        for more in added:
            shape = (streams, max(more // traffic.rows, 1))
            chosen, cluster = generator.random(shape) < 0.5, generator.integers(0, CLUSTERS, shape)
            units = np.where(
                chosen, units_of(measure, effect, shape, generator), units_of(measure, 0.0, shape, generator)
            )
            counts = np.full(shape, traffic.rows)
            values = values_of(measure, counts, units, generator)
            if measure != "mean":
                alike = generator.random(shape) < 0.5
                values = np.where(alike, traffic.rows * (generator.random(shape) < units), values)
            flat = np.arange(streams)[:, None] * CLUSTERS + cluster
            for arm, mask in enumerate((~chosen, chosen)):
                for kind, part in enumerate((counts, values)):
                    new = np.bincount(flat.ravel(), weights=(part * mask).ravel(), minlength=streams * CLUSTERS)
                    sums[arm, kind, :, 0] += new.reshape(streams, CLUSTERS)
            yield ClusterSums(*sums[1]), ClusterSums(*sums[0])


def monitored(
    traffic: Traffic,
    measure: str,
    streams: int,
    looks: np.ndarray,
    *,
    effect: float = 0.0,
    detectable: float,
    seed: int,
    radius: Callable[..., np.ndarray] = information_radius,
) -> tuple[np.ndarray, np.ndarray]:
    """Return whether each stream's interval excludes 0 at each look, and the estimates, of shape `(streams, looks)`."""
    generator = np.random.default_rng(seed)
    outside, estimates = [], []
    for start in range(0, streams, CHUNK):
        size = min(CHUNK, streams - start)
        found = []
        for candidate, champion in looks_of(traffic, measure, size, looks, effect, generator):
            estimate = clustered_difference(candidate, champion, is_rate=measure != "mean")
            half = radius(estimate, expected_variance=variance_to_detect(detectable))
            if radius is radius_by_observation:
                half = np.where(
                    np.isinf(half), half, np.minimum(half, 1e9) * independent_std(candidate, champion, measure)
                )
            found.append((np.abs(estimate.value) > half, estimate.value))
        outside.append(np.array([out for out, _ in found]).T)
        estimates.append(np.array([value for _, value in found]).T)
    return np.concatenate(outside), np.concatenate(estimates)


def radius_by_observation(estimate: ClusteredEstimate, *, expected_variance: float) -> np.ndarray:
    """Return half the width for an estimate with a variance of one, which takes observations for independent."""
    one = replace(estimate, variance=np.ones_like(estimate.variance))
    return np.asarray(information_radius(one, expected_variance=1.0))


def independent_std(candidate: ClusterSums, champion: ClusterSums, measure: str) -> np.ndarray:
    """Return the standard error of the difference of two means if no observation depended on another one."""
    counts = [arm.weight.sum(axis=(-1, -2)) for arm in (candidate, champion)]
    total = sum(arm.total.sum(axis=(-1, -2)) for arm in (candidate, champion))
    rate = total / np.maximum(sum(counts), 1)
    variance = 1.25 if measure == "mean" else rate * (1 - rate)
    return np.asarray(np.sqrt(variance * sum(1 / np.maximum(count, 1) for count in counts)))


def detectable_effect(traffic: Traffic, measure: str) -> float:
    """Return an effect that a test of a few thousand requests finds, although few users leave much uncertain."""
    if measure == "mean":
        return 0.45 if traffic.users == 300 else 0.2
    if traffic.users is None:
        return RATES[measure] * 0.5
    return (
        RATES[measure]
        * {"error rate": 1.0, "latency": 0.8, "binary": 0.6}[measure]
        * (3.5 if traffic.users == 300 else 1.0)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--json", help="write the results by name to this file")
    arguments = parser.parse_args()
    results: dict[str, float] = {}
    rows: list[list[object]] = []
    for traffic in TRAFFIC:
        for measure in MEASURES:
            row = measured(traffic, measure, arguments.streams)
            rows.append([traffic.name, measure, *row])
            results[f"{traffic.name}, {measure}"] = float(str(row[0]).rstrip(" %")) / 100
    print_table(
        ["traffic", "measure", "null: found", "by one request", "one look", "half found by", "ratio"],
        rows,
        f"{arguments.streams:,} null streams, {LOOKS} looks, at most 5.0 % may differ; otherwise {FEW} streams",
    )
    if arguments.json:
        write_json(arguments.json, results)


def measured(traffic: Traffic, measure: str, streams: int) -> list[object]:
    """Return the row of a table: errors with clusters and without them, and the cost of a true difference."""
    few, effect = min(FEW, streams), detectable_effect(traffic, measure)
    most = 300_000 if traffic.rows > 1 else 60_000
    looks = np.unique(np.geomspace(60 * traffic.rows, most, LOOKS).astype(int))
    outside, _ = monitored(traffic, measure, streams, looks, detectable=effect, seed=1)
    naive, _ = monitored(traffic, measure, few, looks, detectable=effect, seed=1, radius=radius_by_observation)
    found, estimates = monitored(traffic, measure, few, looks, effect=effect, detectable=effect, seed=2)
    enough = effect / np.nanstd(estimates, axis=0) >= POWER_Z
    fixed = float(looks[np.argmax(enough)]) if enough.any() else np.inf
    first = np.where(found.any(axis=1), looks[np.argmax(found, axis=1)], np.inf)
    median = float(np.quantile(first, 0.5, method="higher"))
    shown = [f"{value:,.0f}" if np.isfinite(value) else "–" for value in (fixed, median)]
    errors = [f"{100 * float(at_each_look.any(axis=1).mean()):.1f} %" for at_each_look in (outside, naive)]
    return [*errors, *shown, round(median / fixed, 2)]


if __name__ == "__main__":
    main()
