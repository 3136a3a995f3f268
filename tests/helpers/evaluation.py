"""Datasets and models for the tests of the evaluate step, and a short way to call it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet
from sklearn.linear_model import LogisticRegression

from airflow_provider_mlops.data.task_identity import TaskIdentity
from airflow_provider_mlops.lifecycle.evaluate.spec import EvaluateResult, EvaluateSpec
from airflow_provider_mlops.lifecycle.evaluate.step import evaluate
from airflow_provider_mlops.lifecycle.scoring.evaluation import Evaluation
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.registry import models
from airflow_provider_mlops.registry.model_version import ModelVersion
from airflow_provider_mlops.registry.rows import feature_rows
from tests.helpers.models import customers, register, write

FEATURES = ["age", "income", "visits", "region"]


class House:
    """A storage with datasets and models that the tests share. Each test evaluates under its own task ID."""

    def __init__(self, directory: Path) -> None:
        task = TaskIdentity(dag_id="churn", run_id="manual__1", task_id="train", owner="ada")
        self.workspace = Workspace(storage_uri=str(directory), task=task)
        self.train = write(self.workspace, "train", customers(500, 1))
        self.test_frame = customers(400, 2)
        self.test = write(self.workspace, "test", self.test_frame)
        self.model = self.register("churn", "target", "classification", LogisticRegression())

    def register(self, name: str, target: str, problem: str, estimator: Any, **options: Any) -> ModelVersion:
        options.setdefault("features", FEATURES)
        options.setdefault("dataset", self.train)
        return register(self.workspace, name, target=target, problem=problem, estimator=estimator, **options)

    def as_task(self, task_id: str) -> Workspace:
        return self.workspace.model_copy(update={"task": self.workspace.task.model_copy(update={"task_id": task_id})})

    def evaluate(self, task_id: str, **fields: Any) -> tuple[EvaluateResult, Evaluation]:
        fields = {"model": self.model, "dataset": self.test, "target": "target", "resamples": 200, **fields}
        result = evaluate(EvaluateSpec(**fields), self.as_task(task_id))
        return result, Evaluation.read(result.evaluation_uri)

    def predicted(self, model: ModelVersion, frame: pd.DataFrame, features: list[str] | None = None) -> Any:
        fitted = models.load(self.workspace.registry(), model)
        rows = feature_rows(pyarrow.Table.from_pandas(frame, preserve_index=False), features or FEATURES)
        return fitted.predict(rows), fitted.predict_proba(rows) if hasattr(fitted, "predict_proba") else None
