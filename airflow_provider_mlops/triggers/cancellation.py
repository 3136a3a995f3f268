"""Whether a user has canceled a task, or Airflow only moves it: clears, retries or restarts it."""

from __future__ import annotations

from airflow_provider_mlops.data.task_identity import TaskIdentity

_CANCELED = {
    "failed": "was marked as failed",
    "success": "was marked as successful",
    "skipped": "was skipped",
    "upstream_failed": "was marked as failed with its run",
    "removed": "was removed from its DAG",
}


def why_canceled(task: TaskIdentity) -> str | None:
    """Return what a user did to a task that was killed, as the end of a sentence: `was marked as failed`.

    None if the task goes on: it was cleared, waits for a retry, or runs again in another worker or triggerer. Works in
    a task and in a trigger. Raises the exceptions of Airflow's execution API if it does not respond.
    """
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    states = RuntimeTaskInstance.get_task_states(
        dag_id=task.dag_id, task_ids=[task.task_id], run_ids=[task.run_id], map_index=task.map_index
    ).get(task.run_id, {})
    name = task.task_id if task.map_index < 0 else f"{task.task_id}_{task.map_index}"
    if name not in states:
        return "was deleted with its run or DAG"
    state = states[name]
    return None if state is None else _CANCELED.get(str(getattr(state, "value", state)))
