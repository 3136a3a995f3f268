"""What a human is asked when the evidence does not tell, and what follows from the answer."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_provider_mlops.lifecycle.rollout.findings import Finding
from airflow_provider_mlops.serving.rollouts import transitions
from airflow_provider_mlops.serving.rollouts.rollout import Rollout, RolloutState

if TYPE_CHECKING:
    from airflow_provider_mlops.serving.rollouts.store import RolloutStore

log = logging.getLogger(__name__)

GO_ON = "Go on"
WAIT = "Wait for evidence"
ROLL_BACK = "Roll back"
OPTIONS = (GO_ON, WAIT, ROLL_BACK)


def is_asked(rollout: Rollout) -> bool:
    """Whether the rollout waits for a human's answer."""
    return rollout.state.status == "held" and rollout.plan.on_inconclusive == "ask"


def subject(rollout: Rollout) -> str:
    """The headline of the question."""
    versions = ", ".join(str(version) for version in rollout.plan.candidates)
    return f"Rollout of {rollout.model}, version {versions}: the evidence does not tell. Shall it go on?"


def body(rollout: Rollout, findings: tuple[Finding, ...], now: datetime | None = None) -> str:
    """What is known, and what each answer does, in Markdown."""
    state, plan = rollout.state, rollout.plan
    lines = [
        f"**{plan.strategy.kind}**, step {state.step + 1} of {plan.strategy.step_count}, rollout `{rollout.id}`, "
        f"beside champion version {plan.champion}. {state.reason}.",
        "",
        "| Version | Gate | Verdict | What is known |",
        "|---|---|---|---|",
    ]
    versions = {arm.name: arm.version for arm in plan.arms}
    lines += [
        f"| {versions.get(finding.arm)} | {finding.gate} | {finding.verdict} | {_cell(finding.sentence)} |"
        for finding in findings
    ]
    lines += [
        "",
        f"- **{GO_ON}**: the step counts as passed. What becomes clearly worse is rolled back all the same.",
        f"- **{WAIT}**: the weights stay for another {plan.decision_timeout}, and then you are asked again.",
        f"- **{ROLL_BACK}**: the champion gets all traffic again.",
        "",
        "While the question is open the evidence is looked at as before, and may answer it. "
        f"This was known at {now or datetime.now(UTC):%Y-%m-%d %H:%M} UTC, when the task first asked; what is known "
        "at a later question is in the task's log.",
    ]
    return "\n".join(lines)


def answer(store: RolloutStore, rollout_id: str, option: str, by: str, now: datetime | None = None) -> Rollout:
    """Do what a human has answered. Returns the rollout as it is then.

    A question that the evidence has answered meanwhile is open no longer, and then only a rollback is taken from it.

    :param option: one of `OPTIONS`.
    :param by: who answered.
    """

    def next_state(seen: Rollout) -> RolloutState | None:
        late = not seen.state.is_in_progress or (not is_asked(seen) and option != ROLL_BACK)
        if late:
            log.info("%s answered %r to a question that is open no longer: nothing changes", by, option)
            return None
        moment, reason = now or datetime.now(UTC), f"answered {option!r} to: {seen.state.reason}"
        if option == GO_ON:
            return transitions.approved(seen.state, moment, by, reason)
        if option == ROLL_BACK:
            return transitions.rolled_back(seen.plan, seen.state, moment, by, reason)
        return transitions.prolonged(seen.plan, seen.state, moment, by, reason)

    return store.change(rollout_id, next_state)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
