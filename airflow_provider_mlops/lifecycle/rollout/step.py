"""Start a rollout, or join the one that the task has begun, and take it as far as the evidence carries it now.

Each call begins, looks, decides and, once it is over, settles: whatever of that is due. All that is known between two
calls lies in the rollout store, so the process that called may be killed at any point; the next call goes on.
"""

from __future__ import annotations

import contextlib
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from airflow_provider_mlops.errors import FieldError, RolloutConflictError
from airflow_provider_mlops.lifecycle.deploy.deployment import Deployment
from airflow_provider_mlops.lifecycle.deploy.expected_champion import Replacement
from airflow_provider_mlops.lifecycle.rollout.findings import Finding, findings
from airflow_provider_mlops.lifecycle.step import Result, Step
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.registry.model_version import ModelVersion
from airflow_provider_mlops.serving.rollouts.config import RolloutTerms
from airflow_provider_mlops.serving.rollouts.rollout import Rollout, Status

if TYPE_CHECKING:
    from airflow_provider_mlops.registry.audit import AuditEntry
    from airflow_provider_mlops.serving.rollouts.store import RolloutStore

log = logging.getLogger(__name__)

Standing: TypeAlias = Literal["waiting"] | Status

MOST_FINDINGS = 10
"""How many findings a result holds; XCom is no place for more."""


class RolloutSpec(RolloutTerms, Replacement):
    """What to roll out, how, and what happens if it goes wrong."""

    candidates: tuple[ModelVersion, ...] = Field(
        default=(), max_length=6, description="More versions of the same model to try beside `model`; only for bandits."
    )
    if_another_runs: Literal["fail", "wait"] = Field(
        default="fail",
        description="What happens while another task's rollout of the model is under way: `fail` at once, with "
        "`RolloutConflictError`, or `wait` until it is over.",
    )
    on_rollback: Literal["skip", "fail", "succeed"] = Field(
        default="skip",
        description="How the task ends after a rollback: `skip`: it succeeds, and the tasks right after it are "
        "skipped; `fail`: it fails without a retry, and Airflow then registers no asset event; `succeed`: what comes "
        "after it runs, and can look at `status`.",
    )
    look_every: timedelta = Field(
        default=timedelta(seconds=30),
        gt=timedelta(0),
        description="How often the evidence is looked at. Below some seconds Airflow may take a task that resumes so "
        "soon for lost; it joins the rollout when it is tried again.",
    )

    @model_validator(mode="after")
    def _one_model(self) -> Self:
        versions = [self.model.version, *(candidate.version for candidate in self.candidates)]
        if any(candidate.name != self.model.name for candidate in self.candidates):
            raise FieldError("candidates", "candidates must be versions of the same model as `model`")
        if len(set(versions)) != len(versions):
            raise FieldError("candidates", "candidates must differ from each other and from `model`")
        if len(versions) > 1 and not self.learns:
            raise FieldError(
                "candidates", f"the strategy {self.strategy.kind} takes one version; only bandits take candidates"
            )
        return self


class RolloutResult(Result):
    """Where the rollout stands."""

    rollout_id: str | None = Field(description="The rollout; None where the model was the champion already.")
    status: Standing = Field(
        description="`promoted`; `rolled_back`; or `ended`, where the champion stays and nothing is held against the "
        "model. Before it is over: `waiting` for another rollout, `running`, or `held`."
    )
    step: int = Field(description="The step that it has come to, from 0.")
    version: int | None = Field(description="The version that answers once it is over.")
    reason: str = Field(description="Why, in plain words.")
    findings: tuple[Finding, ...] = Field(description="What is known about each gate; at most ten, the worst first.")
    deployment: Deployment | None = Field(
        description="What answers for the model once it is over, and the audit entry of the decision."
    )
    model: ModelVersion = Field(description="The version that was rolled out.")


def rollout(spec: RolloutSpec, workspace: Workspace) -> RolloutResult:
    """Begin or join, look, and settle what is over. Returns at once; call it again when there is something to do.

    Raises RolloutConflictError if another rollout of the model is under way; PromotionConflictError if the champion is
    not the expected one, or somebody moved it meanwhile, which ends the rollout; RejectedError if a version does not
    answer as its packaged model does; InvalidSpecError if the model has no champion or a version is not there;
    BackendAwayError if MLflow, the gateway or the store does not answer.
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
            if spec.if_another_runs == "fail":
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


STEP = Step("rollout", RolloutSpec, RolloutResult, rollout)
