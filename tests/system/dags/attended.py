"""Rollouts whose tasks are marked, cleared, deleted, paused and killed, in DAGs that wait in different ways."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param, get_current_context

from airflow_provider_mlops.operators.rollout import RolloutOperator


class FragileRolloutOperator(RolloutOperator):
    """A rollout whose first try fails right after it has started the rollout, if the run says so."""

    def _wait(self, trigger, asked):
        context = get_current_context()
        if context["params"]["fails_first"] and context["ti"].try_number == 1:
            raise RuntimeError("the first try fails")
        super()._wait(trigger, asked)


def rollout_dag(dag_id: str, *, deferrable: bool, retries: int) -> DAG:
    with DAG(
        dag_id,
        schedule=None,
        default_args={"retries": retries, "retry_delay": timedelta(seconds=1)},
        params={
            "model_name": Param("churn", type="string"),
            "on_cancel": Param("roll_back", type="string"),
            "on_inconclusive": Param("hold", type="string"),
            "bake_time": Param(600, type="number"),
            "decision_timeout": Param(900, type="number"),
            "unattended_timeout": Param(600, type="number"),
            "min_requests": Param(0, type="integer"),
            "fails_first": Param(False, type="boolean"),
        },
        render_template_as_native_obj=True,
        is_paused_upon_creation=False,
    ) as dag:
        FragileRolloutOperator(
            task_id="rollout",
            model={"name": "{{ params.model_name }}", "version": 2, "run_id": "attended"},
            gates=[],
            hard_limits=None,
            deferrable=deferrable,
            # The scheduler notices within this time that a task is deferred, also on a busy machine.
            check_interval=5,
            on_cancel="{{ params.on_cancel }}",
            on_inconclusive="{{ params.on_inconclusive }}" if deferrable else "hold",
            bake_time="{{ params.bake_time }}",
            decision_timeout="{{ params.decision_timeout }}",
            unattended_timeout="{{ params.unattended_timeout }}",
            min_requests="{{ params.min_requests }}",
        )
    return dag


deferred = rollout_dag("attended_deferred", deferrable=True, retries=2)
waiting = rollout_dag("attended_waiting", deferrable=False, retries=20)
once = rollout_dag("attended_once", deferrable=False, retries=0)
paused = rollout_dag("attended_paused", deferrable=True, retries=0)
deleted = rollout_dag("attended_deleted", deferrable=True, retries=0)
