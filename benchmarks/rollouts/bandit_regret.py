"""Measure the reward that bandits lose compared with the bound of Lai and Robbins, and the time of propensities.

Each algorithm runs on 200 seeds at once, on four problems: stationary, with a change of the best arm halfway, with
normal rewards, and with a best arm that depends on the context.

    python -m benchmarks.rollouts.bandit_regret [--seeds 200] [--decisions 10000] [--json FILE]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from airflow_provider_mlops.stats.bandits.epsilon_greedy import EpsilonGreedy
from airflow_provider_mlops.stats.bandits.lai_robbins import lai_robbins_bound_of_means, lai_robbins_bound_of_rates
from airflow_provider_mlops.stats.bandits.linear_statistics import LinearStatistics, RidgeFit, estimated_noise
from airflow_provider_mlops.stats.bandits.linear_thompson import LinearThompson
from airflow_provider_mlops.stats.bandits.linucb import LinUCB
from airflow_provider_mlops.stats.bandits.reward_statistics import RewardStatistics
from airflow_provider_mlops.stats.bandits.thompson_beta import BetaThompson
from airflow_provider_mlops.stats.bandits.thompson_gaussian import GaussianThompson
from airflow_provider_mlops.stats.bandits.ucb1 import UCB1
from benchmarks.measure import print_table, write_json

RATES = np.array([0.30, 0.35, 0.45])
MEANS, NOISE = np.array([0.0, 0.2, 0.5]), 1.0
# Decisions of a period, and how much a period counts compared with the next one, for policies that discount.
PERIOD, FACTOR = 100, 0.9

Choose = Callable[[RewardStatistics, np.random.Generator], np.ndarray]


def sampler(policy: EpsilonGreedy | UCB1) -> Choose:
    """Return a function that draws arms by the propensities of many problems at once."""

    def choose(statistics: RewardStatistics, generator: np.random.Generator) -> np.ndarray:
        sums = np.cumsum(policy.propensities(statistics), axis=1)
        return (generator.random(len(sums))[:, None] >= sums[:, :-1]).sum(axis=1)

    return choose


def uniform(statistics: RewardStatistics, generator: np.random.Generator) -> np.ndarray:
    seeds, arms = statistics.count.shape
    return generator.integers(0, arms, seeds)


def regret(
    choose: Choose, expected: np.ndarray, noise: float | None, seeds: int, *, discounts: bool = False
) -> np.ndarray:
    """Return the reward that each seed has lost after all decisions; `expected` has a row per decision."""
    generator = np.random.default_rng(20)
    statistics = RewardStatistics.empty(seeds, expected.shape[1])
    lost, everyone = np.zeros(seeds), np.arange(seeds)
    for step, means in enumerate(expected):
        if discounts and step % PERIOD == 0:
            for part in (statistics.count, statistics.total, statistics.deviations):
                part *= FACTOR
        arm = choose(statistics, generator)
        if noise is None:
            reward = (generator.random(seeds) < means[arm]).astype(float)
        else:
            reward = means[arm] + noise * generator.standard_normal(seeds)
        add_rewards(statistics, everyone, arm, reward)
        lost += means.max() - means[arm]
    return lost


def add_rewards(statistics: RewardStatistics, problem: np.ndarray, arm: np.ndarray, reward: np.ndarray) -> None:
    """Add one reward to each problem, in place."""
    count, total = statistics.count[problem, arm], statistics.total[problem, arm]
    statistics.deviations[problem, arm] += count / (count + 1) * (reward - total / np.maximum(count, 1)) ** 2
    statistics.count[problem, arm] += 1
    statistics.total[problem, arm] += reward


def contextual_regret(
    policy: LinUCB | LinearThompson | None, decisions: int, seeds: int, *, estimates_noise: bool = False
) -> np.ndarray:
    """Return the lost reward if the best of three arms depends on five features, with a new fit every ten decisions.

    With `estimates_noise`, linear Thompson sampling takes the standard deviation from the residuals, as rollouts do.
    """
    generator = np.random.default_rng(21)
    arms, size, noise = 3, 5, 0.5
    truth = generator.normal(0, 0.4, (seeds, arms, size))
    gram, response = np.zeros((seeds, arms, size, size)), np.zeros((seeds, arms, size))
    lost, everyone, moments = np.zeros(seeds), np.arange(seeds), RewardStatistics.empty(seeds, arms)
    std = np.ones(seeds)
    for step in range(decisions):
        if step % 10 == 0:
            fit = RidgeFit.of(LinearStatistics(moments.count, gram, response))
            if estimates_noise:
                std = noise_of_seeds(LinearStatistics(moments.count, gram, response), moments)
        x = generator.normal(size=(seeds, size))
        x[:, 0] = 1
        if policy is None:
            arm = generator.integers(0, arms, seeds)
        elif isinstance(policy, LinUCB):
            arm = policy.index(fit, x).argmax(axis=1)
        elif estimates_noise:
            drawn = generator.standard_normal((seeds, arms))
            arm = (fit.means(x) + std[:, None] * fit.stds(x) * drawn).argmax(axis=1)
        else:
            arm = policy.sample(fit, x, generator)
        expected = np.einsum("si,sai->sa", x, truth)
        reward = expected[everyone, arm] + noise * generator.standard_normal(seeds)
        add_rewards(moments, everyone, arm, reward)
        gram[everyone, arm] += x[:, :, None] * x[:, None, :]
        response[everyone, arm] += reward[:, None] * x
        lost += expected.max(axis=1) - expected[everyone, arm]
    return lost


def noise_of_seeds(statistics: LinearStatistics, moments: RewardStatistics) -> np.ndarray:
    """Return the estimated standard deviation of each seed."""
    return np.array(
        [
            estimated_noise(
                LinearStatistics(statistics.count[seed], statistics.gram[seed], statistics.response[seed]),
                RewardStatistics(moments.count[seed], moments.total[seed], moments.deviations[seed]),
                prior_std=1.0,
            )
            for seed in range(len(statistics.count))
        ]
    )


def propensity_times() -> list[list[object]]:
    """Return the milliseconds for the propensities of one problem, the best of ten."""
    rows = []
    for arms in (2, 5, 10):
        generator = np.random.default_rng(1)
        statistics = RewardStatistics.of(generator.integers(0, arms, 3000), generator.random(3000) < 0.3, arms)
        features = generator.normal(size=(500, 8))
        fit = RidgeFit.of(LinearStatistics.of(generator.integers(0, arms, 500), features, features[:, 0], arms))
        calls: dict[str, Callable[[], object]] = {
            "Thompson, Beta": lambda s=statistics: BetaThompson().propensities(s),
            "Thompson, unknown variance": lambda s=statistics: GaussianThompson().propensities(s),
            "Thompson, linear": lambda f=fit, x=features[0]: LinearThompson().propensities(f, x),
            "LinUCB": lambda f=fit, x=features[0]: LinUCB().propensities(f, x),
            "UCB1": lambda s=statistics: UCB1().propensities(s),
        }
        for name, call in calls.items():
            seconds = []
            for _ in range(10):
                start = time.perf_counter()
                call()
                seconds.append(time.perf_counter() - start)
            rows.append([name, arms, round(1000 * min(seconds), 3)])
    return rows


def summary(lost: np.ndarray) -> list[object]:
    error = lost.std(ddof=1) / np.sqrt(lost.size)
    return [round(lost.mean(), 1), round(2 * error, 1), round(float(np.quantile(lost, 0.95)), 1)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--decisions", type=int, default=10_000)
    parser.add_argument("--json", help="write the ratios by name to this file")
    arguments = parser.parse_args()
    seeds, decisions = arguments.seeds, arguments.decisions
    policies: dict[str, Choose] = {
        "Thompson, Beta": BetaThompson().sample,
        "UCB1": sampler(UCB1()),
        "epsilon-greedy 0.1": sampler(EpsilonGreedy(0.1)),
        "epsilon-greedy 1, halved by 50": sampler(EpsilonGreedy(1.0, decay=50.0)),
        "random": uniform,
    }
    ratios: dict[str, float] = {}
    headers = ["policy", "mean regret", "± 2 s.e.", "95 % quantile", "over the bound"]

    still = np.tile(RATES, (decisions, 1))
    bound = lai_robbins_bound_of_rates(RATES, decisions)
    rows = []
    for name, choose in policies.items():
        lost = regret(choose, still, None, seeds)
        rows.append([name, *summary(lost), round(lost.mean() / bound, 2)])
        ratios[f"stationary: {name}"] = round(lost.mean() / bound, 3)
    title = f"Stationary, rates {RATES.tolist()}, {decisions:,} decisions, {seeds} seeds; Lai-Robbins {bound:.1f}"
    print_table(headers, rows, title)

    normal = np.tile(MEANS, (decisions, 1))
    bound = lai_robbins_bound_of_means(MEANS, NOISE, decisions)
    rows = []
    gaussian: dict[str, Choose] = {
        "Thompson, known variance": GaussianThompson(known_std=NOISE).sample,
        "Thompson, unknown variance": GaussianThompson().sample,
        "UCB1, width 2": sampler(UCB1(width=2.0)),
        "random": uniform,
    }
    for name, choose in gaussian.items():
        lost = regret(choose, normal, NOISE, seeds)
        rows.append([name, *summary(lost), round(lost.mean() / bound, 2)])
        ratios[f"normal: {name}"] = round(lost.mean() / bound, 3)
    title = f"Stationary, normal rewards, means {MEANS.tolist()}, standard deviation {NOISE:g}; Lai-Robbins {bound:.1f}"
    print_table(headers, rows, title)

    changing = still.copy()
    changing[decisions // 2 :] = RATES[::-1]
    rows = []
    for name, choose in policies.items():
        for discounts in (False, True):
            if name == "random" and discounts:
                continue
            lost = regret(choose, changing, None, seeds, discounts=discounts)
            rows.append([name + (", discounting" if discounts else ""), *summary(lost)])
            ratios[f"changing: {rows[-1][0]}"] = round(float(lost.mean()), 1)
    print_table(headers[:4], rows, f"Changing: the best arm becomes the worst after {decisions // 2:,} decisions")

    rows = []
    linear: dict[str, LinUCB | LinearThompson | None] = {
        "LinUCB, exploration 0.5": LinUCB(0.5),
        "LinUCB, exploration 1": LinUCB(1.0),
        "Thompson, linear, std 0.5": LinearThompson(0.5),
        "Thompson, linear, std 1": LinearThompson(1.0),
        "Thompson, linear, estimated from 1": LinearThompson(1.0),
        "random": None,
    }
    for name, policy in linear.items():
        lost = contextual_regret(policy, decisions // 5, seeds, estimates_noise="estimated" in name)
        rows.append([name, *summary(lost)])
        ratios[f"contextual: {name}"] = round(float(lost.mean()), 1)
    print_table(headers[:4], rows, f"Contextual: three arms, five features, {decisions // 5:,} decisions")

    times = propensity_times()
    print_table(["propensities of", "arms", "ms"], times, "One set of propensities")
    ratios |= {f"propensities: {name}, {arms} arms, ms": float(str(ms)) for name, arms, ms in times}
    if arguments.json:
        write_json(arguments.json, ratios)


if __name__ == "__main__":
    main()
