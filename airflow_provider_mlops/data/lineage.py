"""Who made a thing: the identity that names everything a task makes."""

from __future__ import annotations

import re
from datetime import datetime

from pydantic import BaseModel, ConfigDict


class TaskIdentity(BaseModel):
    """The task that makes something, as (dag, run, task, map index).

    A retry of the task has the same identity, so what it makes replaces or continues what the
    first try made.

    :ivar first_try: the try with which its present retries began: 1, or the first one after it was last cleared.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1
    try_number: int = 1
    first_try: int = 1
    owner: str = "airflow"
    logical_date: datetime | None = None
    interval_start: datetime | None = None
    interval_end: datetime | None = None

    @property
    def key(self) -> str:
        """One line that is the same for every try of the same task instance.

        >>> TaskIdentity(dag_id="churn", run_id="manual__1", task_id="train").key
        'churn/manual__1/train'
        >>> TaskIdentity(dag_id="churn", run_id="manual__1", task_id="train", map_index=3).key
        'churn/manual__1/train/3'
        """
        mapped = () if self.map_index < 0 else (str(self.map_index),)
        return "/".join((self.dag_id, self.run_id, self.task_id, *mapped))

    @property
    def path(self) -> str:
        """`key` with nothing in it that a file system or an object store dislikes.

        >>> TaskIdentity(dag_id="churn", run_id="manual__2026-01-01T00:00:00+00:00", task_id="train").path
        'churn/manual__2026-01-01T00_00_00_00_00/train'
        """
        return re.sub(r"[^A-Za-z0-9._/-]", "_", self.key)

    def tags(self) -> dict[str, str]:
        """The identity as MLflow tags. `try_number` is left out: a retry must find what it made."""
        return {
            "mlops.dag_id": self.dag_id,
            "mlops.run_id": self.run_id,
            "mlops.task_id": self.task_id,
            "mlops.map_index": str(self.map_index),
            "mlops.owner": self.owner,
        }
