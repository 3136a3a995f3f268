"""The question that a person is asked when the evidence is inconclusive, and what follows from the answer."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_provider_mlops.data.times import format_duration
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


def body(rollout: Rollout, report_url: str | None) -> str:
    """Return what is asked, and what each answer does, in Markdown.

    Airflow keeps the text of a task's first question for all later ones. The text therefore has no step, weights or
    evidence, which would be old by then, but a link to the report, which is written at each check.

    Parameters
    ----------
    report_url
        Address of the report; None if it is not served.
    """
    plan = rollout.plan
    versions = ", ".join(map(str, plan.candidates))
    present = "in the task's log" if report_url is None else f"in the [report of the rollout]({report_url})"
    lines = [
        f"Rollout `{rollout.id}` (strategy {plan.strategy.kind}) compares version {versions} with champion version "
        f"{plan.champion}. At its present step, the gates could not decide in time.",
        "",
        f"The step, the weights and the evidence of each gate are {present}, as of the last check.",
        "",
        "What do you want to do?",
        "",
        f"- **{CONTINUE}**: the present step counts as passed. The rollout starts the next step or, after the last "
        "one, the candidate becomes the champion. If the candidate fails a gate before that, it is rolled back.",
        f"- **{WAIT}**: the weights stay as they are for another {format_duration(plan.decision_timeout)} from your "
        "answer. After that, you are asked again.",
        f"- **{ROLL_BACK}**: all requests go to champion version {plan.champion}, and the rollout is over.",
        "",
        "While this question is open, the evidence is still checked and may decide the rollout before you answer.",
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
