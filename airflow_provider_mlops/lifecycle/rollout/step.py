"""The step `rollout`: start a rollout, or join the one that the task has started, and advance it.

Each call does whatever is due: it starts the rollout, checks the evidence, applies decisions, and settles a rollout
that is over. Everything between two calls is in the rollout store, so the calling process may be killed at any point;
the next call continues.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from airflow_provider_mlops.errors import PromotionConflictError, RolloutConflictError
from airflow_provider_mlops.lifecycle.deploy.deployment import Deployment
from airflow_provider_mlops.lifecycle.rollout.findings import findings
from airflow_provider_mlops.lifecycle.rollout.spec import RolloutResult, RolloutSpec
from airflow_provider_mlops.lifecycle.step import Step
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.serving.rollouts.rollout import Rollout

if TYPE_CHECKING:
    from airflow_provider_mlops.registry.audit import AuditEntry
    from airflow_provider_mlops.serving.rollouts.store import RolloutStore

log = logging.getLogger(__name__)


MAX_FINDINGS = 10
"""The maximum number of findings in a result, because XComs must stay small."""


def rollout(spec: RolloutSpec, workspace: Workspace) -> RolloutResult:
    """Start or join a rollout, check it, and settle it if it is over.

    Returns without waiting. Call it again when the rollout has to be advanced.

    Raises
    ------
    RolloutConflictError
        If another rollout of the model is in progress.
    PromotionConflictError
        If the champion is not the expected one, or if someone has changed it during the rollout, which ends the
        rollout.
    RejectedError
        If the gateway's predictions for a version differ from those of the packaged model.
    InvalidSpecError
        If the model has no champion, or if a version does not exist.
    BackendUnavailableError
        If MLflow, the gateway or the rollout store is unavailable.
    """
    from airflow_provider_mlops.lifecycle.rollout.begin import already_champion, begin
    from airflow_provider_mlops.lifecycle.rollout.live_report import write_report
    from airflow_provider_mlops.lifecycle.rollout.look import look
    from airflow_provider_mlops.lifecycle.rollout.settle import settle
    from airflow_provider_mlops.serving.rollouts.attendance import attend

    with contextlib.closing(workspace.rollout_store()) as store:
        try:
            current = store.join(spec.model.name, workspace.task)
            if current is None:
                entry = already_champion(spec, workspace)
                if entry is not None:
                    return _not_needed(spec, workspace, entry)
                current = begin(spec, workspace, store)
        except RolloutConflictError as error:
            if spec.on_conflict == "fail":
                raise
            log.info("Waiting for another rollout to end: %s", error)
            return RolloutResult(
                rollout_id=None,
                status="waiting",
                step=0,
                version=None,
                reason=str(error),
                findings=(),
                deployment=None,
                model=spec.model,
            )
        if current.state.is_in_progress:
            attend(store, current, workspace.task.key)
        current = look(workspace, store, current)
        deployment = None
        if not current.state.is_in_progress:
            try:
                entry = settle(
                    workspace, store, current, by=workspace.task, reason=spec.reason, timeout=spec.verify_timeout
                )
            except PromotionConflictError:
                # The report says how the rollout ended, also if the task fails because of it.
                write_report(workspace.storage_uri, store, store.get(current.id))
                raise
            deployment = Deployment.of(entry, workspace.gateway_url)
        written = write_report(workspace.storage_uri, store, store.get(current.id))
        return _result(spec, store, current, deployment, written)


def _result(
    spec: RolloutSpec, store: RolloutStore, current: Rollout, deployment: Deployment | None, written: str
) -> RolloutResult:
    from airflow_provider_mlops.lifecycle.rollout.look import evidence_of

    order = ("worse", "inconclusive", "better")
    verdicts = findings(current.plan, evidence_of(store, current))
    state = current.state
    return RolloutResult(
        rollout_id=current.id,
        status=state.status,
        step=state.step,
        version=state.version,
        reason=state.reason[:1000],
        findings=tuple(sorted(verdicts, key=lambda finding: order.index(finding.verdict))[:MAX_FINDINGS]),
        deployment=deployment,
        report_uri=written,
        model=spec.model,
    )


def _not_needed(spec: RolloutSpec, workspace: Workspace, entry: AuditEntry) -> RolloutResult:
    return RolloutResult(
        rollout_id=entry.rollout_id,
        status="promoted",
        step=0,
        version=entry.to_version,
        reason=entry.reason,
        findings=(),
        deployment=Deployment.of(entry, workspace.gateway_url),
        model=spec.model,
    )


STEP = Step("rollout", RolloutSpec, RolloutResult, rollout, extras=("train",))
