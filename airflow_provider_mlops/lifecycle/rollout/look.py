"""Looking at a rollout: what the evidence says now, and the change that follows from it."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_provider_mlops.errors import BackendUnavailableError
from airflow_provider_mlops.lifecycle.rollout.decision import RolloutDecision, apply, decide
from airflow_provider_mlops.lifecycle.rollout.findings import Evidence
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.serving.rollouts import transitions
from airflow_provider_mlops.serving.rollouts.rollout import Rollout

if TYPE_CHECKING:
    from airflow_provider_mlops.registry.connection import Registry
    from airflow_provider_mlops.serving.rollouts.store import RolloutStore

log = logging.getLogger(__name__)


def evidence_of(store: RolloutStore, rollout: Rollout) -> Evidence:
    """What has been counted for a rollout by now."""
    return Evidence.of(store.statistics(rollout.id), rollout.state.step)


def decision_now(store: RolloutStore, rollout: Rollout, now: datetime | None = None) -> RolloutDecision:
    """What the evidence asks for; nothing is changed. Raises ValueError if the rollout is over."""
    return decide(rollout.plan, rollout.state, evidence_of(store, rollout), now or datetime.now(UTC))


def look(workspace: Workspace, store: RolloutStore, rollout: Rollout, now: datetime | None = None) -> Rollout:
    """Make every change that the evidence asks for, until it asks for none. Returns the rollout as it is then.

    What somebody else has changed meanwhile, such as a gateway that rolled back, stands. If another version has become
    champion since the rollout began, it is ended. Raises BackendUnavailableError; while MLflow alone is away, what is worse
    is rolled back all the same.
    """
    from airflow_provider_mlops.serving.rollouts.store import StaleRolloutError

    while True:
        rollout = store.get(rollout.id)
        if not rollout.state.is_under_way:
            return rollout
        moment = now or datetime.now(UTC)
        decision = decision_now(store, rollout, moment)
        try:
            moved, version = moved_champion(workspace.registry(), rollout)
        except BackendUnavailableError as error:
            if decision.action != "roll_back":
                raise
            # To take a version back needs the store alone, and must not wait for MLflow.
            log.warning("Whether the champion was moved cannot be told: %s", error)
            moved, version = False, None
        try:
            if moved:
                reason = f"{'no version' if version is None else f'version {version}'} is champion by now"
                ended = transitions.overtaken(rollout.state, version, moment, workspace.task.key, reason)
                return store.compare_and_set(rollout, ended)
            where = f"Rollout {rollout.id}, step {rollout.state.step + 1} of {rollout.plan.strategy.steps_count}"
            log.info("%s: %s. %s", where, decision.action.replace("_", " "), decision.reason)
            for finding in decision.findings:
                log.info("%s, %s: %s. %s", finding.arm, finding.gate, finding.verdict, finding.sentence)
            if decision.action == "wait":
                return rollout
            state = apply(decision, rollout.plan, rollout.state, moment, workspace.task.key)
            store.compare_and_set(rollout, state)
        except StaleRolloutError:
            log.info("The rollout was changed by somebody else just now: looking again")


def moved_champion(registry: Registry, rollout: Rollout) -> tuple[bool, int | None]:
    """Whether another version is champion than when the rollout began, or the alias stands elsewhere, and which."""
    from airflow_provider_mlops.registry import models, promotion
    from airflow_provider_mlops.registry.aliases import CHAMPION

    champion = promotion.champion(registry, rollout.model)
    version = None if champion is None else champion.version
    if version == rollout.plan.champion:
        # Whoever moves the alias by hand is in no audit trail; the gateways obey all the same.
        version = models.aliases(registry, rollout.model).get(CHAMPION)
    return version != rollout.plan.champion, version
