"""The step `rollout` as an operator: it defers between two checks, however long the rollout takes."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

from airflow.providers.common.compat.sdk import AirflowFailException, SkipMixin
from typing_extensions import override

from airflow_provider_mlops.assets.events import MODELS, AssetUpdate, deployed, rolled_out
from airflow_provider_mlops.errors import InvalidSpecError, RolloutConflictError
from airflow_provider_mlops.hooks.rollout_store import rollout_store
from airflow_provider_mlops.lifecycle.rollout.spec import RolloutResult, RolloutSpec
from airflow_provider_mlops.lifecycle.rollout.step import STEP
from airflow_provider_mlops.links.step import (
    EndedLink,
    ModelVersionLink,
    PromotedLink,
    ReportLink,
    RolledBackLink,
    publish_links,
    served_url,
)
from airflow_provider_mlops.operators.identity import identify, report_retries
from airflow_provider_mlops.operators.step import StepOperator
from airflow_provider_mlops.triggers.cancellation import why_canceled

_KILL_SECONDS = 4.0
"""Airflow kills a task 5 seconds after it has asked it to end."""
_LABEL = "{{ rollout_status }}"

if TYPE_CHECKING:
    from typing import Unpack

    from airflow.sdk import Context

    from airflow_provider_mlops.lifecycle.workspace import Workspace
    from airflow_provider_mlops.operators.arguments import RolloutArguments
    from airflow_provider_mlops.triggers.events import RolloutEvent
    from airflow_provider_mlops.triggers.waiting import WaitingTrigger


class RolloutOperator(StepOperator[RolloutSpec, RolloutResult], SkipMixin, step=STEP):
    """Release a model version to part of the traffic, and promote it or roll it back as the evidence says.

    Between two checks the task waits in the triggerer, which needs no worker slot; with `deferrable=False` it waits in
    the worker. The state of the rollout is kept in the rollout store, so a task that is killed, retried or cleared
    continues the same rollout. If the task is canceled, `on_cancel` says what happens to the rollout, and if no one
    checks it anymore, the gateways roll it back after `unattended_timeout`.
    """

    ui_color = "#c9efe4"
    events = MODELS
    operator_extra_links = (ModelVersionLink(), ReportLink(), PromotedLink(), RolledBackLink(), EndedLink())
    inherits_from_skipmixin = True
    extra_arguments: ClassVar[dict[str, object]] = {"deferrable": True}

    deferrable: bool
    _context: Context | None = None
    _canceled: str | None = None

    if TYPE_CHECKING:

        def __init__(self, *, deferrable: bool = True, **arguments: Unpack[RolloutArguments]) -> None: ...

    @override
    def execute(self, context: Context) -> dict[str, Any]:
        self._context = context
        with report_retries(context), self._stopping(context):
            return self._advance(context, asked=None)

    def resume(self, context: Context, event: Mapping[str, object], asked: int | None = None) -> dict[str, Any]:
        """Continue after the trigger has fired, or after a user has answered.

        :param event: the reason, and the user's answer if there is one.
        :param asked: revision of the rollout's state at which a user was last asked.
        """
        change = cast("RolloutEvent", event)
        if "why" in change:
            # The trigger has logged this, and the step logs the decision with its reason.
            self.log.debug("Resumed: %s", change["why"])
        self._context = context
        with report_retries(context), self._stopping(context):
            if change.get("chosen_options"):
                self._apply_response(context, change)
            return self._advance(context, asked)

    @override
    def on_kill(self) -> None:
        super().on_kill()
        if self._context is None:
            return
        # Airflow calls this in a signal handler, in the middle of anything. What the interrupted code holds, such as
        # the connection to Airflow, is not free before the handler returns, so another thread waits for it.
        thread = threading.Thread(target=self._cancel, args=(self._context,), name="cancel", daemon=True)
        thread.start()
        thread.join(_KILL_SECONDS)
        if self._canceled is not None:
            # Otherwise the interrupted code would go on, and might start the rollout now.
            raise AirflowFailException(self._canceled)

    @contextlib.contextmanager
    def _stopping(self, context: Context) -> Iterator[None]:
        """Cancel a rollout that the task was starting when a user canceled the task."""
        try:
            yield
        except BaseException:
            if self._canceled is not None:
                self._cancel(context)
            raise

    def _cancel(self, context: Context) -> None:
        """Do what `on_cancel` says if a user has canceled the task. Airflow also kills tasks that it runs again."""
        from airflow_provider_mlops.lifecycle.rollout.cancel import cancel

        try:
            task = identify(context)
            why = why_canceled(task)
            if why is None:
                self.log.info("The task is stopped, but not canceled. Its next run rejoins the rollout")
                return
            self._canceled = f"The task {why}."
            with contextlib.closing(rollout_store()) as store:
                rollout = store.current(self.spec().model.name)
            if rollout is not None and rollout.started_by.key == task.key:
                cancel(self.workspace(context), rollout.id, why)
        except Exception:
            self.log.exception("Could not cancel the rollout. The gateways roll it back after unattended_timeout")

    @override
    def spec(self) -> RolloutSpec:
        spec = super().spec()
        if spec.on_inconclusive == "ask" and not self.deferrable:
            raise InvalidSpecError(
                "on_inconclusive",
                "ask",
                "it requires deferrable=True, because only a deferred task receives the answer",
            )
        return spec

    @override
    def asset_updates(self, spec: RolloutSpec, result: RolloutResult) -> list[AssetUpdate]:
        moved = []
        if result.status == "promoted" and result.deployment is not None:
            moved = deployed(result.deployment, result.reason)
        return [*moved, rolled_out(result)] if result.rollout_id else moved

    @override
    def on_finished(self, context: Context, spec: RolloutSpec, result: RolloutResult) -> None:
        _label(context, result.status.replace("_", " "))
        if result.status != "rolled_back" or spec.on_rollback == "succeed":
            return
        self.push(context, result)
        message = f"{spec.model} was rolled back: {result.reason}"
        if spec.on_rollback == "fail":
            raise AirflowFailException(message)
        self.log.warning("%s", message)
        self.skip(context["ti"], self.downstream_list)

    @override
    def addresses(self, workspace: Workspace, outcome: dict[str, Any]) -> dict[str, str]:
        addresses = super().addresses(workspace, outcome)
        if addresses.get("report") and outcome.get("deployment"):
            # Of the three buttons that tell the outcome, only the one with an address appears.
            addresses[outcome["status"]] = addresses["report"]
        return addresses

    def _advance(self, context: Context, asked: int | None) -> dict[str, Any]:
        from airflow_provider_mlops.triggers.rollout import NoRolloutTrigger, RolloutTrigger

        while True:
            workspace, spec, result = self.run_step(context)
            seconds = spec.check_interval.total_seconds()
            if result.status == "waiting":
                publish_links(context, {})
                self._wait(NoRolloutTrigger(model_name=spec.model.name, poke_interval=seconds), asked)
                continue
            if result.deployment is not None or result.rollout_id is None:
                return self.finish(context, workspace, spec, result)
            publish_links(context, self.addresses(workspace, result.model_dump(mode="json")))
            _label(context, f"{result.status}, step {result.step + 1}")
            asked = self._ask(context, workspace, result, asked)
            trigger = RolloutTrigger(
                rollout_id=result.rollout_id,
                question=None if asked is None else str(context["ti"].id),
                mlflow_conn_id=self.mlflow_conn_id,
                gateway_conn_id=self.gateway_conn_id,
                # A wait that is shorter than the interval must not take the whole interval.
                poke_interval=min(seconds, spec.decision_timeout.total_seconds()),
            )
            self._wait(trigger, asked)

    def _ask(self, context: Context, workspace: Workspace, result: RolloutResult, asked: int | None) -> int | None:
        """Ask a user the rollout's question, unless it was already asked.

        :param asked: revision of the rollout's state at which this try asked last.

        Returns the revision of the question that is open now, or None.
        """
        from airflow.sdk.execution_time.hitl import upsert_hitl_detail

        from airflow_provider_mlops.lifecycle.rollout import question
        from airflow_provider_mlops.serving.rollouts.open_question import record_question, was_asked

        task_instance = str(context["ti"].id)
        with contextlib.closing(rollout_store()) as store:
            rollout = store.get(str(result.rollout_id))
            if not question.is_asked(rollout):
                return None
            # Airflow may start a task instance again, for example if its scheduler was too slow for a trigger.
            if rollout.revision != asked and not was_asked(store, rollout, task_instance):
                # Airflow keeps one question per task instance: this opens it again, without the previous answer.
                upsert_hitl_detail(
                    ti_id=context["ti"].id,
                    options=list(question.OPTIONS),
                    subject=question.subject(rollout),
                    body=question.body(rollout, served_url(workspace, result.report_uri)),
                    params={},
                )
                record_question(store, rollout, task_instance)
                self.log.info("Asked a user in Airflow: %s", question.subject(rollout))
        return rollout.revision

    def _apply_response(self, context: Context, event: RolloutEvent) -> None:
        """Apply a user's answer to the rollout."""
        from airflow_provider_mlops.lifecycle.rollout.question import answer

        user = event.get("responded_by_user")
        name = user["name"] if user and user.get("name") else "a user"
        with contextlib.closing(rollout_store()) as store, contextlib.suppress(RolloutConflictError):
            rollout = store.join(self.spec().model.name, identify(context))
            if rollout is not None:
                answer(store, rollout.id, event["chosen_options"][0], name)

    def _wait(self, trigger: WaitingTrigger[RolloutEvent], asked: int | None) -> None:
        """Defer the task, or wait in the worker until the trigger would fire."""
        if self.deferrable:
            self.defer(trigger=trigger, method_name="resume", kwargs={"asked": asked})
        while trigger.check_if_available() is None:
            time.sleep(trigger.seconds_to_next_check())
            if self._canceled is not None:
                raise AirflowFailException(self._canceled)


def _label(context: Context, text: str) -> None:
    """Show a text with the task instance where Airflow shows the name of a mapped one, unless the user has set one."""
    if context.get("map_index_template") in (None, _LABEL):
        values = cast("dict[str, object]", context)
        values.update({"map_index_template": _LABEL, "rollout_status": text})
