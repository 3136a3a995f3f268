"""Rollouts in tests: their tasks, store and made-up evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow_provider_mlops.lifecycle.rollout.spec import RolloutResult
from airflow_provider_mlops.lifecycle.rollout.step import STEP, rollout
from airflow_provider_mlops.registry import audit
from airflow_provider_mlops.serving.rollouts.rollout import Rollout
from airflow_provider_mlops.serving.rollouts.store import RolloutStore
from tests.helpers.rollout_evidence import Traffic
from tests.helpers.serving.live_model import with_task
from tests.helpers.serving.live_versions import Versions

GATE = {"kind": "error_rate", "margin": 0.2}


class Rollouts:
    """Rollouts of version 2 beside the champion 1, each by a task of its own."""

    def __init__(self, versions: Versions, directory: Path) -> None:
        self.versions = versions
        self.store: RolloutStore = versions.workspace.rollout_store()
        self.traffic = Traffic(directory, self.store)

    def run(self, run_id: str = "r1", number: int = 2, tries: tuple[int, int] = (1, 1), **fields: Any) -> RolloutResult:
        """Call the step as a task does in one of its tries.

        :param tries: the number of the try, and of the first one since the task was cleared.
        """
        terms = {"bake_time": 0, "min_requests": 1, "gates": [GATE], "hard_limits": None}
        spec = STEP.parse({"model": self.versions[number], **terms, **fields})
        workspace = with_task(self.versions.workspace, "rollout", run_id)
        task = workspace.task.model_copy(update={"try_number": tries[0], "first_try": tries[1]})
        return rollout(spec, workspace.model_copy(update={"task": task}))

    def current(self) -> Rollout:
        found = self.store.current(self.versions.name)
        assert found is not None
        return found

    def trail(self) -> list[audit.AuditEntry]:
        return audit.entries(self.versions.registry, self.versions.name)[1:]


class Killed(BaseException):
    """Stands for the end of the process: no handler for errors catches it."""
