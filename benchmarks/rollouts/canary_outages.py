"""Measure how canaries with the default settings end: with equal versions, at the border, and in shared outages.

The evidence is checked after every 100 requests, with the tests of the error-rate gate. In an outage, 1,000 of every
10,000 requests fail, whichever version gets them.

    python -m benchmarks.rollouts.canary_outages [--streams 1000] [--json FILE]
"""

from __future__ import annotations

import argparse
import math

import numpy as np

from airflow_provider_mlops.lifecycle.rollout.error_rates import margin_for_now
from airflow_provider_mlops.serving.rollouts.plan.gates import ErrorRateGate
from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan, step_weights
from airflow_provider_mlops.stats.sequences.concurrent_rates import log_evidence_of_greater
from benchmarks.measure import print_table, write_json

EVERY, TOTAL = 100, 30_000
OUTAGE_EVERY, OUTAGE = 10_000, 1_000


def simulate(
    plan: RolloutPlan, champion: float, candidate: float, streams: int, *, outage: bool, seed: int, total: int = TOTAL
) -> tuple[np.ndarray, np.ndarray]:
    """Return the end of each stream (`promoted`, `rolled back` or `undecided`) and the requests until then."""
    gate = plan.gates[0]
    if not isinstance(gate, ErrorRateGate):
        raise ValueError("the first gate must be an error_rate gate")
    generator, steps = np.random.default_rng(seed), plan.step_count
    shares = np.array([(step_weights(plan, step) or {})["candidate"] for step in range(steps)])
    margins = [margin_for_now(plan, gate.margin, step) or gate.margin for step in range(steps)]
    compared = shares < 1
    limit = math.log(2 / (1 - plan.gate_confidence))
    counts, errors = np.zeros((2, streams, steps)), np.zeros((2, streams, steps))
    step, end = np.zeros(streams, dtype=int), np.full(streams, "undecided", dtype="<U11")
    requests, everyone = np.full(streams, total), np.arange(streams)
    # Outages begin at a random time of each stream.
    start = generator.integers(0, OUTAGE_EVERY, streams)
    for look in range(EVERY, total + 1, EVERY):
        open_ = end == "undecided"
        if not open_.any():
            break
        fails = outage & ((look - start) % OUTAGE_EVERY < OUTAGE)
        own = generator.binomial(EVERY, shares[step])
        for arm, number, rate in ((0, EVERY - own, champion), (1, own, candidate)):
            failed = generator.binomial(number, np.where(fails, 1.0, rate))
            counts[arm, everyone, step] += number * open_
            errors[arm, everyone, step] += failed * open_
        s, n = errors[..., compared], counts[..., compared].sum(axis=0)
        worse = log_evidence_of_greater(s[1], s[0], n, shares[compared], np.full((streams, 1), gate.margin)) >= limit
        margin = np.array(margins)[step]
        better = log_evidence_of_greater(s[0], s[1], n, 1 - shares[compared], -margin[:, None]) >= limit
        passes = better & ~worse & (counts[1, everyone, step] >= plan.min_requests) & open_
        # Without a champion at the same time, a candidate that fails more often than before waits.
        last = passes & (step == steps - 1)
        before = errors[..., : steps - 1].sum(axis=(0, 2)) / np.maximum(counts[..., : steps - 1].sum(axis=(0, 2)), 1)
        now = errors[1, :, -1] / np.maximum(counts[1, :, -1], 1)
        spread = np.sqrt(before * (1 - before) / np.maximum(counts[1, :, -1], 1)) + 1e-9
        passes &= ~(last & ~compared[-1] & ((now - before - gate.margin) / spread > 3))
        end[worse & open_], end[passes & (step == steps - 1)] = "rolled back", "promoted"
        requests[(end != "undecided") & open_] = look
        step = np.where(passes, np.minimum(step + 1, steps - 1), step)
    return end, requests


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=1000)
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
    if arguments.json:
        write_json(arguments.json, results)


if __name__ == "__main__":
    main()
