"""The end of a rollout whose task was canceled, or its continuation, as `on_cancel` says."""

from __future__ import annotations

import contextlib
import logging
import shlex
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_provider_mlops.data.times import format_duration
from airflow_provider_mlops.errors import MlopsError
from airflow_provider_mlops.lifecycle.rollout.settle import settle
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.serving.rollouts import transitions
from airflow_provider_mlops.serving.rollouts.rollout import Rollout, RolloutState, step_text

if TYPE_CHECKING:
    from airflow_provider_mlops.serving.rollouts.store import RolloutStore

log = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 5.0


def cancel(workspace: Workspace, rollout_id: str, why: str) -> None:
    """Do what the rollout's `on_cancel` says, and log what continues and how to stop it.

    A rollout that is over is only settled, because its task cannot do that anymore. Raises no MlopsError: if a backend
    is unavailable, the gateways roll the rollout back after its `unattended_timeout`, and the log says so.

    Parameters
    ----------
    why
        What happened to the task, such as `was marked as failed`.
    """
    rollout = None
    try:
        with contextlib.closing(workspace.rollout_store()) as store:
            rollout = store.get(rollout_id)
            if rollout.state.is_in_progress and rollout.plan.on_cancel == "keep":
                log.error(
                    "%s %s, but rollout %s of %s continues, because on_cancel is 'keep'. %s",
                    rollout.started_by.key,
                    why,
                    rollout.id,
                    rollout.model,
                    _what_continues(workspace, rollout),
                )
                return
            rollout = _roll_back(workspace, store, rollout, why)
    except MlopsError as error:
        log.error(
            "%s %s, but its rollout %s could not be rolled back: %s %s",
            workspace.task.key,
            why,
            rollout_id,
            error,
            _how_to_stop(workspace, rollout_id) if rollout is None else _what_continues(workspace, rollout),
        )


def _write_report(workspace: Workspace, store: RolloutStore, rollout: Rollout) -> None:
    from airflow_provider_mlops.lifecycle.rollout.live_report import write_report

    try:
        write_report(workspace.storage_uri, store, rollout)
    except Exception as error:
        # The storage has errors of its own, and the rollout is over in any case.
        log.warning("Could not write the report of rollout %s for the last time: %s", rollout.id, error)


def roll_back_command(workspace: Workspace, rollout_id: str) -> str:
    """Return the command that rolls a rollout back, with the storage and MLflow of the workspace.

    >>> from airflow_provider_mlops.data.task_identity import TaskIdentity
    >>> task = TaskIdentity(dag_id="churn", run_id="r1", task_id="rollout")
    >>> roll_back_command(Workspace(storage_uri="/data/mlops", task=task), "0f1e2d3c")
    "airflow-mlops rollouts roll-back 0f1e2d3c --reason 'no longer watched' --storage-uri /data/mlops"
    """
    words = ["airflow-mlops", "rollouts", "roll-back", rollout_id, "--reason", "no longer watched"]
    words += ["--storage-uri", workspace.storage_uri]
    for option, uri in (("--tracking-uri", workspace.tracking_uri), ("--registry-uri", workspace.registry_uri)):
        # A URI with a password does not belong in a log; the environment variable works as well.
        if uri is not None and "@" not in uri:
            words += [option, uri]
    return shlex.join(words)


def _roll_back(workspace: Workspace, store: RolloutStore, rollout: Rollout, why: str) -> Rollout:
    task = rollout.started_by

    def next_state(seen: Rollout) -> RolloutState | None:
        if not seen.state.is_in_progress:
            return None
        return transitions.rolled_back(seen.plan, seen.state, datetime.now(UTC), task.key, f"the task {why}")

    was_in_progress = rollout.state.is_in_progress
    rollout = store.change(rollout.id, next_state)
    if was_in_progress and rollout.state.status == "rolled_back":
        log.warning(
            "%s %s: rolled back rollout %s of %s, and version %d answers all requests (on_cancel is 'roll_back'). "
            "Clear the task to start a new rollout",
            task.key,
            why,
            rollout.id,
            rollout.model,
            rollout.plan.champion,
        )
    # Before MLflow is asked, which may not respond: the process has only seconds left.
    _write_report(workspace, store, rollout)
    if not rollout.state.settled:
        try:
            settle(workspace, store, rollout, by=task, reason="", timeout=_TIMEOUT_SECONDS)
        except MlopsError as error:
            log.error(
                "Rollout %s of %s is %s, but the audit trail and the champion alias could not be updated: %s Clear the "
                "task to repeat that",
                rollout.id,
                rollout.model,
                rollout.state.status_text,
                error,
            )
    return rollout


def _what_continues(workspace: Workspace, rollout: Rollout) -> str:
    plan, state = rollout.plan, rollout.state
    versions = ", ".join(map(str, plan.candidates))
    end = (
        "Only a hard limit can end it"
        if plan.unattended_timeout is None
        else f"The gateways roll it back after {format_duration(plan.unattended_timeout)} without a check"
    )
    return (
        f"It stays at {step_text(plan, state.step)}, version {versions} still gets requests, and no one checks the "
        f"evidence. {end}. {_how_to_stop(workspace, rollout.id)} To check the evidence again, clear the task."
    )


def _how_to_stop(workspace: Workspace, rollout_id: str) -> str:
    return f"To stop it now, run: {roll_back_command(workspace, rollout_id)}."
