"""Start a rollout, or join the one that the task has begun, and take it as far as the evidence carries it now.

Each call begins, looks, decides and, once it is over, settles: whatever of that is due. All that is known between two
calls lies in the rollout store, so the process that called may be killed at any point; the next call goes on.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from airflow_provider_mlops.errors import RolloutConflictError
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


MOST_FINDINGS = 10
"""How many findings a result holds; XCom is no place for more."""


def rollout(spec: RolloutSpec, workspace: Workspace) -> RolloutResult:
    """Begin or join, look, and settle what is over. Returns at once; call it again when there is something to do.

    Raises RolloutConflictError if another rollout of the model is under way; PromotionConflictError if the champion is
    not the expected one, or somebody moved it meanwhile, which ends the rollout; RejectedError if a version does not
    answer as its packaged model does; InvalidSpecError if the model has no champion or a version is not there;
    BackendUnavailableError if MLflow, the gateway or the store does not answer.
    """
    from airflow_provider_mlops.lifecycle.rollout.begin import begin, champion_already
    from airflow_provider_mlops.lifecycle.rollout.look import look
    from airflow_provider_mlops.lifecycle.rollout.settle import settle

    with contextlib.closing(workspace.rollout_store()) as store:
        try:
            current = store.join(spec.model.name, workspace.task)
            if current is None:
                entry = champion_already(spec, workspace)
                if entry is not None:
                    return _not_needed(spec, workspace, entry)
                current = begin(spec, workspace, store)
        except RolloutConflictError as error:
            if spec.on_conflict == "fail":
                raise
            log.info("Waiting: %s", error)
            return RolloutResult(
                rollout_id=None, status="waiting", step=0, version=None, reason=str(error), findings=(),
                deployment=None, model=spec.model,
            )  # fmt: skip
        current = look(workspace, store, current)
        deployment = None
        if not current.state.is_under_way:
            deployment = Deployment.of(settle(spec, workspace, store, current), workspace.gateway_url)
        return _result(spec, store, current, deployment)


def _result(spec: RolloutSpec, store: RolloutStore, current: Rollout, deployment: Deployment | None) -> RolloutResult:
    from airflow_provider_mlops.lifecycle.rollout.look import evidence_of

    order = ("worse", "inconclusive", "better")
    found = findings(current.plan, evidence_of(store, current))
    state = current.state
    return RolloutResult(
        rollout_id=current.id,
        status=state.status,
        step=state.step,
        version=state.version,
        reason=state.reason[:1000],
        findings=tuple(sorted(found, key=lambda finding: order.index(finding.verdict))[:MOST_FINDINGS]),
        deployment=deployment,
        model=spec.model,
    )


def _not_needed(spec: RolloutSpec, workspace: Workspace, entry: AuditEntry) -> RolloutResult:
    return RolloutResult(
        rollout_id=entry.rollout_id, status="promoted", step=0, version=entry.to_version, reason=entry.reason,
        findings=(), deployment=Deployment.of(entry, workspace.gateway_url), model=spec.model,
    )  # fmt: skip


STEP = Step("rollout", RolloutSpec, RolloutResult, rollout, extras=("train",))
