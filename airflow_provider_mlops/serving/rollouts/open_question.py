"""The question that a task has asked about a rollout, so that a task that starts again does not discard the answer.

Airflow keeps one question for each task instance, and deletes the answer when the task asks again. A task cannot read
the answer, only its trigger can.
"""

from __future__ import annotations

from sqlalchemy import select, update

from airflow_provider_mlops.serving.rollouts.rollout import Rollout
from airflow_provider_mlops.serving.rollouts.store import RolloutStore
from airflow_provider_mlops.serving.rollouts.tables import ROLLOUTS


def record_question(store: RolloutStore, rollout: Rollout, task_instance: str) -> None:
    """Record that a task instance has asked about a state of the rollout. Raises BackendUnavailableError."""
    with store.engine.writing() as connection:
        connection.execute(
            update(ROLLOUTS).where(ROLLOUTS.c.id == rollout.id).values(question=_text(rollout, task_instance))
        )


def was_asked(store: RolloutStore, rollout: Rollout, task_instance: str) -> bool:
    """Return whether a task instance has asked about this state of the rollout. Raises BackendUnavailableError."""
    with store.engine.reading() as connection:
        stored = connection.execute(select(ROLLOUTS.c.question).where(ROLLOUTS.c.id == rollout.id)).scalar()
    return stored == _text(rollout, task_instance)


def _text(rollout: Rollout, task_instance: str) -> str:
    return f"{task_instance} {rollout.revision}"
