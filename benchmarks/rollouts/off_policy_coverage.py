"""Measure how often the intervals of off-policy estimates contain the true value, and how often there is none.

Decisions come from Thompson sampling with two versions and a floor of the propensity. The policies that are estimated
send every request to one version.

    python -m benchmarks.rollouts.off_policy_coverage [--streams 1000] [--json FILE]
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy import special

from airflow_provider_mlops.stats.bandits.cross_fitting import cross_fitted_rewards
from airflow_provider_mlops.stats.bandits.off_policy import (
    OffPolicyEstimate,
    doubly_robust,
    inverse_propensity,
    self_normalized,
)
from benchmarks.measure import print_table, write_json

RATES = (0.15, 0.1)
BATCH = 50


def log_of_bandit(
    floor: float, decisions: int, generator: np.random.Generator, *, revenue: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return arms, propensities of the chosen arms, and rewards."""
    wins, counts = np.ones(2), np.full(2, 2.0)
    arms, propensities, rewards = [], [], []
    for _ in range(0, decisions, BATCH):
        means = wins / counts
        spread = np.sqrt((means * (1 - means) / (counts + 1)).sum())
        share = floor + (1 - 2 * floor) * special.ndtr((means[1] - means[0]) / spread)
        arm = (generator.random(BATCH) < share).astype(int)
        won = generator.random(BATCH) < np.array(RATES)[arm]
        wins, counts = wins + np.bincount(arm[won], minlength=2), counts + np.bincount(arm, minlength=2)
        arms.append(arm)
        propensities.append(np.where(arm == 1, share, 1 - share))
        rewards.append(won * generator.lognormal(0, 1, BATCH) if revenue else won.astype(float))
    return np.concatenate(arms), np.concatenate(propensities), np.concatenate(rewards)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--json", help="write the results by name to this file")
    arguments = parser.parse_args()
    rows: list[list[object]] = []
    results: dict[str, float] = {}
    for floor in (0.01, 0.1):
        for decisions in (1000, 10_000):
            for target in (0, 1):
                for revenue in (False, True):
                    found: dict[str, list[bool | None]] = {"IPS": [], "SNIPS": [], "doubly robust": []}
                    truth = RATES[target] * (np.exp(0.5) if revenue else 1.0)
                    generator = np.random.default_rng(1)
                    for _ in range(arguments.streams):
                        arm, propensity, reward = log_of_bandit(floor, decisions, generator, revenue=revenue)
                        policy = np.tile([float(target == 0), float(target == 1)], (arm.size, 1))
                        of_logged = (arm == target).astype(float)
                        if not of_logged.any():
                            continue
                        predicted = cross_fitted_rewards(np.ones((arm.size, 1)), arm, reward, 2)
                        estimates: dict[str, OffPolicyEstimate] = {
                            "IPS": inverse_propensity(reward, propensity, of_logged),
                            "SNIPS": self_normalized(reward, propensity, of_logged),
                            "doubly robust": doubly_robust(reward, propensity, arm, policy, predicted),
                        }
                        for name, estimate in estimates.items():
                            interval = estimate.interval
                            covers = None if interval is None else interval.low <= truth <= interval.high
                            found[name].append(covers)
                    label = f"{'best' if target == 0 else 'other'} version, {'revenue' if revenue else 'rate'}"
                    row: list[object] = [floor, f"{decisions:,}", label]
                    for name, covered in found.items():
                        shown = [covers for covers in covered if covers is not None]
                        coverage = float(np.mean(shown)) if shown else float("nan")
                        row.append(f"{100 * coverage:.1f} % of {len(shown):,}" if shown else "no interval")
                        results[f"{floor}, {decisions}, {label}, {name}"] = coverage
                    rows.append(row)
    headers = ["floor", "decisions", "always", "IPS", "SNIPS", "doubly robust"]
    print_table(
        headers, rows, f"Coverage of 95 % intervals, {arguments.streams:,} logs; the number that has an interval"
    )
    if arguments.json:
        write_json(arguments.json, results)


if __name__ == "__main__":
    main()
