"""The step `rollout` as an operator: it defers between two looks, however long the rollout takes."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.sdk import AirflowFailException, SkipMixin

from airflow_provider_mlops.assets.events import MODELS, AssetUpdate, deployed, rolled_out
from airflow_provider_mlops.errors import BackendUnavailableError, InvalidSpecError, RolloutConflictError
from airflow_provider_mlops.hooks.rollout_store import rollout_store
from airflow_provider_mlops.lifecycle.rollout.step import STEP
from airflow_provider_mlops.links.step import ModelVersionLink, link_addresses, publish_links
from airflow_provider_mlops.operators.identity import identify
from airflow_provider_mlops.operators.step import StepOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_mlops.triggers.waiting import WaitingTrigger


class RolloutOperator(StepOperator, SkipMixin, step=STEP):
    """Show a model version to part of the traffic, and promote it or take it back by what the evidence says.

    Between two looks the task waits in the triggerer and holds no worker slot; with `deferrable=False` it waits in the
    worker. Where the rollout stands is kept in the rollout store: a task that is killed, retried or cleared joins it.
    """

    ui_color = "#c9efe4"
    events = MODELS
    operator_extra_links = (ModelVersionLink(),)
    inherits_from_skipmixin = True
    extra_arguments: ClassVar[dict[str, Any]] = {"deferrable": True}

    deferrable: bool

    def execute(self, context: Context) -> dict[str, Any]:
        """Begin or join the rollout, and see it to its end. Returns the fields of the Result as JSON."""
        return self._advance(context, asked=None)

    def resume(self, context: Context, event: dict[str, Any], asked: int | None = None) -> dict[str, Any]:
        """Called when there is something to do.

        :param event: why, and a human's answer where there is one.
        :param asked: at which state of the rollout a human was asked last.
        """
        if "why" in event:
            self.log.info("Looking at the rollout: %s", event["why"])
        if event.get("chosen_options"):
            self._apply_response(context, event)
        return self._advance(context, asked)

    def spec(self) -> Any:
        """The Spec from the rendered fields. Raises InvalidSpecError."""
        spec: Any = super().spec()
        if spec.on_inconclusive == "ask" and not self.deferrable:
            raise InvalidSpecError("on_inconclusive", "ask", "only a deferred task hears the answer: drop deferrable")
        return spec

    def asset_updates(self, spec: Any, result: Any) -> list[AssetUpdate]:
        """A rollout is over; after a promotion the champion has moved, and with it `previous`."""
        moved = deployed(result.deployment, result.reason) if result.status == "promoted" else []
        return [*moved, rolled_out(result)] if result.rollout_id else moved

    def on_finished(self, context: Context, outcome: dict[str, Any]) -> None:
        """After a rollback, end as `on_rollback` says."""
        spec = self.spec()
        if outcome["status"] != "rolled_back" or spec.on_rollback == "succeed":
            return
        self.push(context, outcome)
        why = f"{spec.model} was rolled back: {outcome['reason']}"
        if spec.on_rollback == "fail":
            raise AirflowFailException(why)
        self.log.warning("%s", why)
        self.skip(context["ti"], self.downstream_list)

    def _advance(self, context: Context, asked: int | None) -> dict[str, Any]:
        from airflow_provider_mlops.triggers.rollout import NoRolloutTrigger, RolloutTrigger

        while True:
            workspace, spec, result = self.run_step(context)
            seconds = spec.check_interval.total_seconds()
            if result.status == "waiting":
                publish_links(context, {})
                self._wait(NoRolloutTrigger(model_name=spec.model.name, poke_interval=seconds), asked)
                continue
            if result.deployment is not None:
                return self.finish(context, workspace, spec, result)
            publish_links(
                context, link_addresses(self.step, self.mlflow_conn_id, workspace, result.model_dump(mode="json"))
            )
            asked = self._ask(context, result.rollout_id, asked)
            trigger = RolloutTrigger(
                rollout_id=result.rollout_id,
                question=None if asked is None else str(context["ti"].id),
                mlflow_conn_id=self.mlflow_conn_id,
                poke_interval=seconds,
            )
            self._wait(trigger, asked)

    def _ask(self, context: Context, rollout_id: str, asked: int | None) -> int | None:
        """Ask a human what is to be asked and was not asked yet.

        :param asked: how often the rollout's state had been written at the question that this try has asked last.

        Returns the same for the question that is open now; None if none is.
        """
        from airflow.sdk.execution_time.hitl import upsert_hitl_detail

        from airflow_provider_mlops.lifecycle.rollout import question
        from airflow_provider_mlops.lifecycle.rollout.findings import findings
        from airflow_provider_mlops.lifecycle.rollout.look import evidence_of

        with contextlib.closing(rollout_store()) as store:
            rollout = store.get(rollout_id)
            if not question.is_asked(rollout):
                return None
            if rollout.revision != asked:
                found = findings(rollout.plan, evidence_of(store, rollout))
                # Airflow keeps one question a try: this opens it anew, without the answer to the one before.
                upsert_hitl_detail(
                    ti_id=context["ti"].id,
                    options=list(question.OPTIONS),
                    subject=question.subject(rollout),
                    body=question.body(rollout, found),
                    params={},
                )
                self.log.info("Asking a human: %s", rollout.state.reason)
        return rollout.revision

    def _apply_response(self, context: Context, event: dict[str, Any]) -> None:
        """Do what a human has answered."""
        from airflow_provider_mlops.lifecycle.rollout.question import answer

        user = event.get("responded_by_user") or {}
        with contextlib.closing(rollout_store()) as store, contextlib.suppress(RolloutConflictError):
            rollout = store.join(self.spec().model.name, identify(context))
            if rollout is not None:
                answer(store, rollout.id, event["chosen_options"][0], user.get("name") or "somebody")

    def _wait(self, trigger: WaitingTrigger, asked: int | None) -> None:
        """Defer; or return when the trigger would fire, where the task shall wait in the worker."""
        if self.deferrable:
            self.defer(trigger=trigger, method_name="resume", kwargs={"asked": asked})
        while True:
            try:
                if trigger.look() is not None:
                    return
            except BackendUnavailableError as error:
                self.log.warning("Looking again in %s s: %s", trigger.poke_interval, error)
            time.sleep(trigger.poke_interval)
