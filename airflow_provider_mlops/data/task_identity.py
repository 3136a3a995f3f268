"""The identity of a task, which names everything that the task makes."""

from __future__ import annotations

import re
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field


class TaskIdentity(BaseModel):
    """The task that makes something, identified by DAG, run, task and map index.

    A retry of the task has the same identity, so what it makes replaces or continues what the first try made.

    >>> TaskIdentity(dag_id="churn", run_id="manual__1", task_id="train", map_index=3).key
    'churn/manual__1/train/3'
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dag_id: str = Field(description="ID of the DAG.")
    run_id: str = Field(description="ID of the DAG run.")
    task_id: str = Field(description="ID of the task.")
    map_index: int = Field(default=-1, description="Index of a mapped task instance; -1 if the task is not mapped.")
    try_number: int = Field(default=1, description="Number of the try, from 1.")
    first_try: int = Field(
        default=1, description="Number of the first try since the task was last cleared; 1 if it was never cleared."
    )
    owner: str = Field(default="airflow", description="Owner of the task.")
    logical_date: datetime | None = Field(default=None, description="Logical date of the run, if it has one.")
    interval_start: datetime | None = Field(default=None, description="Start of the run's data interval, if any.")
    interval_end: datetime | None = Field(default=None, description="End of the run's data interval, if any.")

    @property
    def key(self) -> str:
        """Identity as one line, the same for every try of the task instance.

        >>> TaskIdentity(dag_id="churn", run_id="manual__1", task_id="train").key
        'churn/manual__1/train'
        """
        mapped = () if self.map_index < 0 else (str(self.map_index),)
        return "/".join((self.dag_id, self.run_id, self.task_id, *mapped))

    @property
    def path(self) -> str:
        """`key`, without characters that file systems or object stores do not allow.

        >>> TaskIdentity(dag_id="churn", run_id="manual__2026-01-01T00:00:00+00:00", task_id="train").path
        'churn/manual__2026-01-01T00_00_00_00_00/train'
        """
        return re.sub(r"[^A-Za-z0-9._/-]", "_", self.key)
