"""A champion and other versions for the tests of the validate step, and a short way to call it."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from sklearn.linear_model import LogisticRegression

from airflow_provider_mlops.data.task_identity import TaskIdentity
from airflow_provider_mlops.lifecycle.evaluate.spec import EvaluateSpec
from airflow_provider_mlops.lifecycle.evaluate.step import evaluate
from airflow_provider_mlops.lifecycle.validate.spec import ValidateResult
from airflow_provider_mlops.lifecycle.validate.step import STEP, validate
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.registry import models, promotion
from airflow_provider_mlops.registry.model_version import ModelVersion
from tests.helpers.models import customers, register, write

ALL = ("age", "income", "region")


class Arena:
    """A storage with a champion and versions that are evaluated against it."""

    def __init__(self, directory: Path) -> None:
        task = TaskIdentity(dag_id="churn", run_id="manual__1", task_id="train", owner="ada")
        self.workspace = Workspace(storage_uri=str(directory), task=task)
        self._trainings = itertools.count(1)
        self.train = write(self.workspace, "train", customers(800, 1))
        self.test = write(self.workspace, "test", customers(600, 2))
        self.alone = self.register("alone", ALL)
        self.champion = self.register("duel", ("age", "region"))
        promotion.promote(
            self.workspace.registry(), self.champion, expected=None, by=self.workspace.task, reason="the first"
        )
        self.better = self.register("duel", ALL)
        self.worse = self.register("duel", ("region",))
        self.same = self.register("duel", ("age",))

    def register(self, name: str, features: tuple[str, ...], estimator: Any = None, **options: Any) -> ModelVersion:
        """Register a version under a new task ID, because a second one of the same task would replace the first."""
        options = {"dataset": self.train, "target": "target", "problem": "classification", **options}
        return register(
            self.workspace,
            name,
            features=features,
            estimator=estimator or LogisticRegression(),
            task_id=f"train-{next(self._trainings)}",
            **options,
        )

    def as_task(self, task_id: str) -> Workspace:
        return self.workspace.model_copy(update={"task": self.workspace.task.model_copy(update={"task_id": task_id})})

    def evaluated(self, model: ModelVersion, task_id: str, **fields: Any) -> str:
        fields = {"dataset": self.test, "target": "target", "resamples": 300, **fields}
        return evaluate(EvaluateSpec(model=model, **fields), self.as_task(task_id)).evaluation_uri

    def validate(self, task_id: str, model: ModelVersion, uri: str, *gates: Any, **fields: Any) -> ValidateResult:
        fields = {"on_reject": "skip", "on_inconclusive": "skip", **fields}
        spec = STEP.parse({"model": model, "evaluation_uri": uri, **({"gates": gates} if gates else {}), **fields})
        return validate(spec, self.as_task(task_id))

    def aliases(self, name: str) -> dict[str, int]:
        return models.aliases(self.workspace.registry(), name)
