"""Measure how canaries with the default settings end: with equal versions, at the border, and in shared outages.

The evidence is checked after every 100 requests, with the tests of the error-rate gate. In an outage, 1,000 of every
10,000 requests fail, whichever version gets them.

    python -m benchmarks.rollouts.canary_outages [--streams 2000] [--json FILE]
"""

from __future__ import annotations

import argparse
import math

import numpy as np

from airflow_provider_mlops.lifecycle.rollout.error_rates import margin_for_now
from airflow_provider_mlops.serving.rollouts.evidence.expected_failures import LEVELS, MEMORY
from airflow_provider_mlops.serving.rollouts.plan.gates import ErrorRateGate
from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan, step_weights
from airflow_provider_mlops.stats.sequences.concurrent_rates import log_evidence_of_greater
from benchmarks.measure import print_table, write_json

EVERY, TOTAL = 100, 30_000
OUTAGE_EVERY, OUTAGE = 10_000, 1_000


def simulate(
    plan: RolloutPlan,
    champion: float,
    candidate: float,
    streams: int,
    *,
    outage: bool,
    seed: int,
    total: int = TOTAL,
    levels: int = LEVELS,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the end of each stream (`promoted`, `rolled back` or `undecided`) and the requests until then.

    With `levels=0`, no failure is expected because of those before it.
    """
    gate = plan.gates[0]
    if not isinstance(gate, ErrorRateGate):
        raise ValueError("the first gate must be an error_rate gate")
    generator, steps = np.random.default_rng(seed), plan.step_count
    shares = np.array([(step_weights(plan, step) or {})["candidate"] for step in range(steps)])
    margins = np.array([margin_for_now(plan, gate.margin, step) or gate.margin for step in range(steps)])
    # Counts of the champion and of the candidate, by stream, step and expected rate.
    shape = (2, streams, steps, LEVELS + 1)
    trials, errors = np.zeros(shape), np.zeros(shape)
    step, end = np.zeros(streams, dtype=int), np.full(streams, "undecided", dtype="<U11")
    requests, expected = np.full(streams, total), np.zeros(streams)
    # Outages begin at a random time of each stream.
    start = generator.integers(0, OUTAGE_EVERY, streams)
    for look in range(EVERY, total + 1, EVERY):
        is_candidate = generator.random((streams, EVERY)) < shares[step][:, None]
        fails = outage & ((look - start) % OUTAGE_EVERY < OUTAGE)
        rate = np.where(fails[:, None], 1.0, np.where(is_candidate, candidate, champion))
        failed = generator.random((streams, EVERY)) < rate
        level, expected = levels_of(failed, expected)
        open_ = np.flatnonzero(end == "undecided")
        if not open_.size:
            break
        cell = ((is_candidate * streams + np.arange(streams)[:, None]) * steps + step[:, None]) * (LEVELS + 1)
        cell = (cell + (level if levels else 0))[open_].ravel()
        trials += np.bincount(cell, minlength=trials.size).reshape(shape)
        errors += np.bincount(cell, weights=failed[open_].ravel(), minlength=trials.size).reshape(shape)
        worse, better = verdicts(trials[:, open_], errors[:, open_], shares, gate.margin, margins[step[open_]], plan)
        now, at = trials[1, open_, step[open_]].sum(axis=-1), step[open_] == steps - 1
        passes = better & ~worse & (now >= plan.min_requests)
        # Without a champion at the same time, a candidate that fails more often than before waits.
        before = errors[:, open_, : steps - 1].sum(axis=(0, 2, 3)) / np.maximum(
            trials[:, open_, : steps - 1].sum(axis=(0, 2, 3)), 1
        )
        rate_now = errors[1, open_, -1].sum(axis=-1) / np.maximum(now, 1)
        spread = np.sqrt(before * (1 - before) / np.maximum(now, 1)) + 1e-9
        passes &= ~(at & (shares[-1] == 1) & ((rate_now - before - gate.margin) / spread > 3))
        end[open_[worse]], end[open_[passes & at]] = "rolled back", "promoted"
        requests[open_[worse | (passes & at)]] = look
        step[open_[passes]] = np.minimum(step[open_[passes]] + 1, steps - 1)
    return end, requests


def levels_of(failed: np.ndarray, rates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the level of `ExpectedFailures` before each request of shape `(streams, requests)`, and the rates after.

    >>> levels_of(np.ones((1, 40), dtype=bool), np.zeros(1))[0][0, [0, 30]]
    array([0, 6])
    """
    levels = np.zeros(failed.shape, dtype=int)
    for number in range(failed.shape[1]):
        levels[:, number] = np.rint(LEVELS * rates)
        rates = rates + (failed[:, number] - rates) / MEMORY
    return levels, rates


def verdicts(
    trials: np.ndarray, errors: np.ndarray, shares: np.ndarray, margin: float, for_now: np.ndarray, plan: RolloutPlan
) -> tuple[np.ndarray, np.ndarray]:
    """Return whether each stream's candidate is worse, and whether it is better, by `concurrent_rate_difference`."""
    limit = math.log(2 / (1 - plan.gate_confidence))
    used = (shares < 1)[:, None] & trials.any(axis=(0, 1))
    share = np.broadcast_to(shares[:, None], used.shape)[used]
    expected = np.broadcast_to(np.arange(LEVELS + 1) / LEVELS, used.shape)[used]
    own, other = ((errors[arm][:, used], trials[arm][:, used]) for arm in (1, 0))
    worse = log_evidence_of_greater(own, other, share, np.full((len(for_now), 1), margin), expected) >= limit
    better = log_evidence_of_greater(other, own, 1 - share, -for_now[:, None], expected) >= limit
    return worse, better


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--json", help="write the results by name to this file")
    arguments = parser.parse_args()
    plan = RolloutPlan(champion=1, candidates=(2,))
    cases = [(rate, rate, outage) for outage in (False, True) for rate in (0.001, 0.01, 0.05)]
    cases += [(0.01, 0.02, False), (0.05, 0.06, False), (0.01, 0.02, True), (0.01, 0.05, False), (0.01, 0.3, True)]
    rows: list[list[object]] = []
    results: dict[str, float] = {}
    for champion, candidate, outage in cases:
        end, requests = simulate(plan, champion, candidate, arguments.streams, outage=outage, seed=1)
        shares = [float(np.mean(end == kind)) for kind in ("promoted", "rolled back", "undecided")]
        name = f"{champion:g} and {candidate:g}{', outages' if outage else ''}"
        decided = requests[end != "undecided"]
        rows.append(
            [name, *(f"{100 * share:.1f} %" for share in shares), int(np.median(decided)) if decided.size else "–"]
        )
        results |= {f"{name}: promoted": shares[0], f"{name}: rolled back": shares[1]}
    print_table(
        ["error rates", "promoted", "rolled back", "undecided", "median requests"],
        rows,
        f"Default canary, {arguments.streams:,} streams of {TOTAL:,} requests; a margin of 0.01",
    )
    strict = RolloutPlan(champion=1, candidates=(2,), gates=(ErrorRateGate(margin=0.0),))
    rows = []
    for rate in (0.001, 0.01, 0.05):
        end, _ = simulate(strict, rate, rate, arguments.streams, outage=True, seed=1)
        wrong = float(np.mean(end != "undecided"))
        rows.append([f"{rate:g} and {rate:g}, outages", f"{100 * wrong:.1f} %"])
        results[f"{rate:g}, no margin, wrong"] = wrong
    print_table(["error rates", "decided"], rows, "The same without a margin, so that every decision is wrong")
    if arguments.json:
        write_json(arguments.json, results)


if __name__ == "__main__":
    main()
