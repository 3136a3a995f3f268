"""A check of a rollout: what the evidence says now, and the changes that follow from it."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from airflow_provider_mlops.errors import BackendUnavailableError
from airflow_provider_mlops.lifecycle.rollout.decision import RolloutDecision, apply, decide
from airflow_provider_mlops.lifecycle.rollout.evidence import Evidence
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.serving.rollouts import transitions
from airflow_provider_mlops.serving.rollouts.rollout import Rollout, step_text

if TYPE_CHECKING:
    from airflow_provider_mlops.registry.connection import Registry
    from airflow_provider_mlops.serving.rollouts.store import RolloutStore

log = logging.getLogger(__name__)


def evidence_of(store: RolloutStore, rollout: Rollout) -> Evidence:
    """Return the evidence of a rollout so far."""
    return Evidence.of(store.statistics(rollout.id), rollout.state.step)


def decision_now(store: RolloutStore, rollout: Rollout, now: datetime | None = None) -> RolloutDecision:
    """Return the decision that follows from the evidence, without applying it. Raises ValueError for a finished one."""
    return decide(rollout.plan, rollout.state, evidence_of(store, rollout), now or datetime.now(UTC))


def look(workspace: Workspace, store: RolloutStore, rollout: Rollout, now: datetime | None = None) -> Rollout:
    """Apply decisions until the evidence requires no further change, and return the rollout as it is then.

    Changes by others, such as a gateway that rolled back, are respected. If another version has become the champion
    since the rollout started, the rollout is ended. Raises BackendUnavailableError; if only MLflow is unavailable, a
    candidate that is worse is still rolled back.
    """
    from airflow_provider_mlops.serving.rollouts.store import StaleRolloutError

    logged = ""
    while True:
        rollout = store.get(rollout.id)
        if not rollout.state.is_in_progress:
            return rollout
        moment = now or datetime.now(UTC)
        decision = decision_now(store, rollout, moment)
        try:
            move = champion_move(workspace.registry(), rollout)
        except BackendUnavailableError as error:
            if decision.action != "roll_back":
                raise
            # A rollback needs only the store, and must not wait for MLflow.
            log.warning("Could not check whether the champion has changed; rolling back anyway: %s", error)
            move = None
        try:
            if move is not None:
                ended = transitions.superseded(rollout.state, move.version, moment, workspace.task.key, move.reason)
                return store.compare_and_set(rollout, ended)
            if decision.action == "wait":
                _log_wait(rollout, decision, logged)
                return rollout
            state = apply(decision, rollout.plan, rollout.state, moment, workspace.task.key)
            # The store logs the new state with the reason of the decision.
            store.compare_and_set(rollout, state)
            logged = _log_findings(decision, f"{logged} {decision.reason}")
        except StaleRolloutError:
            log.info("Someone else changed rollout %s at the same time; checking it again", rollout.id)


def _log_wait(rollout: Rollout, decision: RolloutDecision, logged: str) -> None:
    """Log why a rollout waits, unless the change that this check has just made was logged with that reason."""
    if decision.reason.removeprefix("held: ") not in logged:
        log.info(
            "Checked rollout %s at %s. Next action: %s. Reason: %s",
            rollout.id,
            step_text(rollout.plan, rollout.state.step),
            decision.action_text,
            decision.reason,
        )
    _log_findings(decision, f"{logged} {decision.reason}")


def _log_findings(decision: RolloutDecision, logged: str) -> str:
    """Log the findings whose sentences were not logged before, and return everything that was logged."""
    for finding in decision.findings:
        if finding.sentence.rstrip(".") not in logged:
            log.info("Gate %s, %s: %s. %s", finding.gate, finding.arm, finding.verdict, finding.sentence)
            logged = f"{logged} {finding.sentence}"
    return logged


class ChampionMove(NamedTuple):
    """A change of the champion during a rollout.

    Parameters
    ----------
    version
        The current champion; None if there is none.
    reason
        What happened, as a sentence without the first capital letter and the full stop.
    """

    version: int | None
    reason: str


def champion_move(registry: Registry, rollout: Rollout) -> ChampionMove | None:
    """Return how the champion has changed since the rollout started; None if it has not."""
    from airflow_provider_mlops.registry import audit, models, promotion
    from airflow_provider_mlops.registry.aliases import CHAMPION

    before = rollout.plan.champion
    champion = promotion.champion(registry, rollout.model)
    version = None if champion is None else champion.version
    moved = audit.last_move(registry, rollout.model)
    if version != before and moved is not None:
        became = "the model has no champion anymore" if version is None else f"version {version} is champion now"
        return ChampionMove(
            version, f"{became} instead of version {before} (audit entry {moved.sequence} by {moved.by.key})"
        )
    # An alias that was moved by hand is not in the audit trail, but the gateways follow it.
    version = models.aliases(registry, rollout.model).get(CHAMPION)
    if version == before:
        return None
    if version is None:
        return ChampionMove(None, "someone removed the alias champion by hand, so the model has no champion anymore")
    return ChampionMove(version, f"someone moved the alias champion from version {before} to version {version} by hand")
