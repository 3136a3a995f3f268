"""The question that a person is asked when the evidence is inconclusive, and what follows from the answer."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_provider_mlops.data.times import format_duration
from airflow_provider_mlops.lifecycle.rollout.findings import Finding
from airflow_provider_mlops.serving.rollouts import transitions
from airflow_provider_mlops.serving.rollouts.rollout import Rollout, RolloutState

if TYPE_CHECKING:
    from airflow_provider_mlops.serving.rollouts.store import RolloutStore

log = logging.getLogger(__name__)

CONTINUE = "Continue"
WAIT = "Wait for more evidence"
ROLL_BACK = "Roll back"
OPTIONS = (CONTINUE, WAIT, ROLL_BACK)


def is_asked(rollout: Rollout) -> bool:
    """Return whether the rollout waits for a person's answer."""
    return rollout.state.status == "held" and rollout.plan.on_inconclusive == "ask"


def subject(rollout: Rollout) -> str:
    """Return the headline of the question."""
    candidates = rollout.plan.candidates
    versions = f"version{'s' if len(candidates) > 1 else ''} {', '.join(map(str, candidates))}"
    return f"Continue the rollout of {rollout.model}, {versions}? The evidence is inconclusive."


def body(rollout: Rollout, findings: tuple[Finding, ...], now: datetime | None = None) -> str:
    """Return the evidence, and what each answer does, in Markdown."""
    state, plan = rollout.state, rollout.plan
    versions: dict[str, object] = {arm.name: arm.version for arm in plan.arms}
    if plan.cohort_arm is not None:
        versions[plan.cohort_arm.name] = f"{plan.cohort_arm.version} (cohort)"
    timeout = format_duration(plan.decision_timeout)
    last_step = state.step + 1 == plan.step_count
    effect = "the candidate becomes the champion" if last_step else "the rollout starts the next step"
    lines = [
        f"Rollout `{rollout.id}` (strategy {plan.strategy.kind}) compares the candidate with champion version "
        f"{plan.champion}. It is at step {state.step + 1} of {plan.step_count}{_weights(rollout)}.",
        "",
        f"Why you are asked: {state.reason.rstrip('.')}.",
        "",
        "| Version | Gate | Verdict | Evidence |",
        "|---|---|---|---|",
        *(
            f"| {versions.get(finding.arm)} | {finding.gate} | {finding.verdict} | {_cell(finding.sentence)} |"
            for finding in findings
        ),
        "",
        "What do you want to do?",
        "",
        f"- **{CONTINUE}**: the step counts as passed, and {effect}. If the candidate fails a gate before that, it is "
        "rolled back.",
        f"- **{WAIT}**: the weights stay as they are for another {timeout}. After that, you are asked again.",
        f"- **{ROLL_BACK}**: all requests go to champion version {plan.champion}, and the rollout is over.",
        "",
        "While this question is open, the evidence is still checked and may decide the rollout before "
        f"you answer. The numbers above are from {now or datetime.now(UTC):%Y-%m-%d %H:%M} UTC; newer "
        "ones are in the task's log.",
    ]
    return "\n".join(lines)


def answer(store: RolloutStore, rollout_id: str, option: str, by: str, now: datetime | None = None) -> Rollout:
    """Apply a person's answer, and return the rollout as it is then.

    If the evidence has decided in the meantime, the question is closed, and only a rollback is applied.

    Parameters
    ----------
    option
        One of `OPTIONS`.
    by
        Name of the person who answered.
    """

    def next_state(seen: Rollout) -> RolloutState | None:
        is_closed = not seen.state.is_in_progress or (not is_asked(seen) and option != ROLL_BACK)
        if is_closed:
            log.info("Ignored the answer %r by %s: rollout %s no longer waits for it", option, by, seen.id)
            return None
        moment, reason = now or datetime.now(UTC), f"answered {option!r} to: {seen.state.reason}"
        if option == CONTINUE:
            return transitions.approved(seen.state, moment, by, reason)
        if option == ROLL_BACK:
            return transitions.rolled_back(seen.plan, seen.state, moment, by, reason)
        return transitions.extended(seen.state, moment, by, reason)

    return store.change(rollout_id, next_state)


def _weights(rollout: Rollout) -> str:
    plan, weights = rollout.plan, rollout.state.weights
    if weights is None:
        return ""
    if plan.cohort is not None and plan.is_cohort_step(rollout.state.step):
        return f", in which only the cohort gets version {plan.candidates[0]} (requests of which {plan.cohort.text})"
    versions = {arm.name: arm.version for arm in rollout.plan.arms}
    shares = ", ".join(f"{100 * weight:g}% to version {versions[arm]}" for arm, weight in weights.items())
    return f", with {shares}" if plan.cohort is None else f", with {shares}, apart from the cohort"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
