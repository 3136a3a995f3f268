"""Measure how often confidence sequences are wrong if checked after every request, and how many requests they take.

Error: 2,000 streams without a difference are checked after every observation. A 95 % sequence may ever be wrong in at
most 5 % of them. The usual interval for one look, which is not valid for this use, is shown for comparison.

Power: requests of each arm until the sequence detects a true difference, compared with a test of fixed size with 80 %
power.

    python -m benchmarks.rollouts.confidence_sequences [--streams 2000] [--json FILE]
"""

from __future__ import annotations

import argparse
import math

import numpy as np
from scipy import special

from airflow_provider_mlops.stats.sequences.bounded_mean import log_gamma_mixture
from airflow_provider_mlops.stats.sequences.mean import difference_radius, unit_radius
from airflow_provider_mlops.stats.sequences.prior_observations import prior_observations
from airflow_provider_mlops.stats.sequences.rate import log_evidence, log_evidence_above
from airflow_provider_mlops.stats.sequences.sample_size import (
    requests_for_means,
    requests_for_rates,
    requests_for_sequence,
)
from benchmarks.measure import print_table, write_json

LIMIT = -math.log(0.05)
LOOKS = 3000


def fraction_ever(outside: np.ndarray) -> float:
    """Return the fraction of streams, the first axis, that are outside at any look."""
    return float(np.mean(np.any(outside, axis=1)))


def error_of_rates(streams: int, rate: float) -> tuple[float, float, float]:
    """Return the errors of the two-sided and the one-sided sequence, and of the one-look interval from look 30 on."""
    generator, n = np.random.default_rng(1), np.arange(1, LOOKS + 1)
    successes = np.cumsum(generator.random((streams, LOOKS)) < rate, axis=1)
    both = fraction_ever(log_evidence(successes, n, rate, prior_observations(1000, 0.05)) >= LIMIT)
    # The incomplete beta functions of the one-sided sequence are slow.
    first = slice(0, LOOKS // 3)
    one = log_evidence_above(successes[:, first], n[first], rate, prior_observations(500, 0.1))
    once = np.abs(successes / n - rate) > 1.96 * np.sqrt(rate * (1 - rate) / n)
    return both, fraction_ever(one >= LIMIT), fraction_ever(once[:, 30:])


def error_of_differences(streams: int, rate: float) -> tuple[float, float]:
    """Return the errors for two arms with the same rate: of the sequence, and of the one-look interval.

    The arm that looks better gets nine in ten requests.
    """
    generator, weight = np.random.default_rng(2), prior_observations(500, 0.05)
    successes, trials = np.zeros((streams, 2)), np.zeros((streams, 2))
    out, once = np.zeros(streams, dtype=bool), np.zeros(streams, dtype=bool)
    everyone = np.arange(streams)
    for look in range(LOOKS // 2):
        best = np.argmax((successes + 1) / (trials + 2), axis=1)
        arm = np.where(generator.random(streams) < 0.9, best, 1 - best)
        successes[everyone, arm] += generator.random(streams) < rate
        trials[everyone, arm] += 1
        out |= log_evidence(successes, trials, rate, weight).sum(axis=1) >= LIMIT
        if look >= 60:
            rates = successes / np.maximum(trials, 1)
            spread = np.sqrt(np.sum(rates * (1 - rates) / np.maximum(trials, 1), axis=1))
            once |= (np.abs(rates[:, 1] - rates[:, 0]) > 1.96 * spread) & (trials.min(axis=1) >= 30)
    return float(out.mean()), float(once.mean())


def error_of_means(streams: int, kind: str) -> tuple[float, float]:
    """Return the errors of the asymptotic sequence, and of the one-look interval, both from look 500 on."""
    generator, n = np.random.default_rng(3), np.arange(1, LOOKS + 1)
    if kind == "normal":
        values = generator.standard_normal((streams, LOOKS))
    elif kind == "exponential":
        values = generator.exponential(1, (streams, LOOKS)) - 1
    else:
        values = generator.lognormal(0, 1, (streams, LOOKS)) - math.exp(0.5)
    mean = np.cumsum(values, axis=1) / n
    std = np.sqrt(np.maximum(np.cumsum(values**2, axis=1) / n - mean**2, 0))
    late = slice(499, None)
    sequence = np.abs(mean) > std * unit_radius(n)
    once = np.abs(mean) > 1.96 * std / np.sqrt(n)
    return fraction_ever(sequence[:, late]), fraction_ever(once[:, late])


def error_of_mean_differences(streams: int) -> float:
    """Return the error for two arms with exponential values, in canary steps of 5, 25 and 50 %."""
    generator, everyone = np.random.default_rng(4), np.arange(streams)
    count, total, squares = (np.zeros((streams, 2)) for _ in range(3))
    out = np.zeros(streams, dtype=bool)
    for look in range(2 * LOOKS):
        candidate_share = (0.05, 0.25, 0.5)[3 * look // (2 * LOOKS)]
        arm = (generator.random(streams) < candidate_share).astype(int)
        value = generator.exponential(1, streams)
        count[everyone, arm] += 1
        total[everyone, arm] += value
        squares[everyone, arm] += value**2
        if (enough := count.min(axis=1) >= 500).any():
            mean = total[enough] / count[enough]
            variance = squares[enough] / count[enough] - mean**2
            radius = difference_radius(count[enough], variance)
            out[enough] |= np.abs(mean[:, 1] - mean[:, 0]) > radius
    return float(out.mean())


def error_of_bounded_means(streams: int, a: float, b: float) -> float:
    """Return the error for beta values, each predicted by the mean of the earlier ones."""
    generator, looks = np.random.default_rng(5), LOOKS // 2
    values, n = generator.beta(a, b, (streams, looks)), np.arange(1, looks + 1)
    predicted = (np.cumsum(values, axis=1) - values + 0.5) / n
    variation = np.cumsum((values - predicted) ** 2, axis=1)
    sums, weight = np.cumsum(values - a / (a + b), axis=1), prior_observations(1000 / 16, 0.05)
    evidence = np.maximum(log_gamma_mixture(sums, variation, weight), log_gamma_mixture(-sums, variation, weight))
    return fraction_ever(evidence >= -math.log(0.025))


def error_of_drift(streams: int) -> float:
    """Return the error of either of the two bounds for two arms with the same five cells, which take turns."""
    proportions = np.array([0.5, 0.25, 0.15, 0.07, 0.03])
    generator, everyone, ends = np.random.default_rng(6), np.arange(streams), np.cumsum(proportions)
    counts = np.zeros((2, streams, 5))
    prior, weight = prior_observations(500, 0.025) * proportions + 0.5, prior_observations(500, 0.005)
    out = np.zeros(streams, dtype=bool)
    for look in range(LOOKS // 2):
        cell = np.searchsorted(ends, generator.random(streams)).clip(max=4)
        counts[look % 2, everyone, cell] += 1
        trials = counts.sum(axis=2)
        mixture = (special.gammaln(prior + counts) - special.gammaln(prior) - counts * np.log(proportions)).sum(axis=2)
        mixture += special.gammaln(prior.sum()) - special.gammaln(prior.sum() + trials)
        cells = log_evidence(counts, trials[:, :, None], proportions, weight).sum(axis=0)
        out |= (mixture.sum(axis=0) >= -math.log(0.025)) | np.any(cells >= -math.log(0.005), axis=1)
    return float(out.mean())


def excludes_no_difference(s1: np.ndarray, s0: np.ndarray, n: np.ndarray, weight: float) -> np.ndarray:
    """Return whether the evidence against every common rate has reached the limit, so that the interval excludes 0."""
    low, high = np.zeros_like(s1), np.ones_like(s1)
    rows = tuple(np.indices(s1.shape))
    for _ in range(5):
        rate = low[..., None] + (high - low)[..., None] * np.linspace(0, 1, 11)
        evidence = log_evidence(s1[..., None], n[..., None], rate, weight)
        evidence = evidence + log_evidence(s0[..., None], n[..., None], rate, weight)
        best = np.argmin(evidence, axis=-1)
        low, high = rate[(*rows, np.maximum(best - 1, 0))], rate[(*rows, np.minimum(best + 1, 10))]
    return np.asarray(evidence.min(axis=-1) >= LIMIT)


def first_detection(detected: np.ndarray, looks: np.ndarray) -> np.ndarray:
    """Return the look at which each stream detects the difference, infinite if it never does."""
    return np.where(detected.any(axis=1), looks[np.argmax(detected, axis=1)].astype(float), np.inf)


def power_of_rates(champion: float, effect: float, streams: int, tuned: float) -> tuple[np.ndarray, int, int]:
    """Return requests of each arm until detection, those of the fixed test, and those of `requests_for_sequence`."""
    fixed = requests_for_rates(champion, effect).candidate
    candidate_std, champion_std = (math.sqrt(rate * (1 - rate)) for rate in (champion + effect, champion))
    planned = requests_for_sequence((candidate_std, champion_std), effect).candidate
    looks = np.unique(np.geomspace(max(20, fixed / 50), 6 * fixed, 150).astype(int))
    steps = np.diff(looks, prepend=0)
    generator = np.random.default_rng(7)
    s1 = np.cumsum(generator.binomial(steps, champion + effect, (streams, looks.size)), axis=1).astype(float)
    s0 = np.cumsum(generator.binomial(steps, champion, (streams, looks.size)), axis=1).astype(float)
    n = np.broadcast_to(looks.astype(float), s1.shape)
    weight = prior_observations(planned if tuned == 0 else tuned, 0.05)
    return first_detection(excludes_no_difference(s1, s0, n, weight), looks), fixed, planned


def power_of_means(effect: float, streams: int, tuned: float) -> tuple[np.ndarray, int, int]:
    """Return the results of `power_of_rates` for means of values with standard deviation one."""
    fixed = requests_for_means(1.0, effect).candidate
    planned = requests_for_sequence((1.0, 1.0), effect).candidate
    looks = np.unique(np.geomspace(500 if fixed > 500 else 50, 6 * fixed, 200).astype(int))
    steps = np.diff(looks, prepend=0)
    generator = np.random.default_rng(8)
    drift = generator.standard_normal((streams, looks.size)) * np.sqrt(2 * steps) + effect * steps
    counts = np.stack([looks, looks], axis=1)
    radius = difference_radius(counts, [1.0, 1.0], expected_n=planned if tuned == 0 else tuned)
    return first_detection(np.abs(np.cumsum(drift, axis=1) / looks) > radius, looks), fixed, planned


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--json", help="write the ratios by name to this file")
    arguments = parser.parse_args()
    streams = arguments.streams
    ratios: dict[str, float] = {}

    rows: list[list[object]] = []
    for rate in (0.01, 0.1, 0.5):
        both, one, once = error_of_rates(streams, rate)
        rows += [[f"rate {rate}", both, once], [f"rate {rate}, one-sided, {LOOKS // 3:,} looks", one, "–"]]
    for rate in (0.05, 0.3):
        error, once = error_of_differences(streams, rate)
        rows.append([f"difference of rates {rate}, adaptive allocation", error, once])
    for kind in ("normal", "exponential", "log-normal"):
        error, once = error_of_means(streams, kind)
        rows.append([f"mean, {kind}, from 500 on", error, once])
    rows.append(["difference of means, exponential, canary steps", error_of_mean_differences(streams), "–"])
    for a, b in ((1.0, 3.0), (20.0, 20.0)):
        rows.append([f"bounded mean, beta({a:g}, {b:g})", error_of_bounded_means(streams, a, b), "–"])
    rows.append(["drift, five cells", error_of_drift(streams), "–"])
    formatted = [[name, *(f"{100 * v:.1f} %" if isinstance(v, float) else v for v in values)] for name, *values in rows]
    title = f"Fraction of {streams:,} streams that ever miss, checked after every observation; the limit is 5 %"
    print_table(["sequence at 95 %", "ever misses", "interval for one look"], formatted, title)
    ratios |= {f"error: {row[0]}": float(str(row[1])) for row in rows}

    rows = []
    cases = [("rates 0.10, 0.12", 0.10, 0.02), ("rates 0.10, 0.15", 0.10, 0.05), ("rates 0.01, 0.03", 0.01, 0.02)]
    for name, champion, effect in cases:
        for tuned in (0.0, 1000.0):
            requests, fixed, planned = power_of_rates(champion, effect, 500, tuned)
            rows.append(_power_row(name, tuned, requests, fixed, planned))
    for effect in (0.1, 0.2):
        for tuned in (0.0, 1000.0):
            requests, fixed, planned = power_of_means(effect, 2000, tuned)
            rows.append(_power_row(f"means {effect:g} standard deviations apart", tuned, requests, fixed, planned))
    headers = ["difference", "tuned for", "fixed test, 80 %", "median", "80 % detected by", "planned", "median ratio"]
    print_table(headers, rows, "Requests of each arm until a difference is detected")
    ratios |= {f"power: {row[0]}, tuned for {row[1]}": float(str(row[-1])) for row in rows}
    if arguments.json:
        write_json(arguments.json, ratios)


def _power_row(name: str, tuned: float, requests: np.ndarray, fixed: int, planned: int) -> list[object]:
    median, eighty = np.quantile(requests, [0.5, 0.8], method="higher")
    label = f"{planned if tuned == 0 else int(tuned):,}"
    return [name, label, fixed, int(median), int(eighty), planned, round(median / fixed, 2)]


if __name__ == "__main__":
    main()
