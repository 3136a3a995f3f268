"""A model that is ready for deployment: registered, profiled and evaluated, on synthetic customers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.data.dataset_writer import DatasetWriter
from airflow_provider_mlops.data.profiling import profile
from airflow_provider_mlops.lifecycle.evaluate.spec import EvaluateSpec
from airflow_provider_mlops.lifecycle.evaluate.step import evaluate
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.registry import registration, tags
from airflow_provider_mlops.registry.model_version import ModelVersion
from airflow_provider_mlops.registry.rows import feature_rows
from airflow_provider_mlops.registry.run import open_run

FEATURES = ("age", "income", "plan")


def customers(rows: int, seed: int, *, older: float = 0.0, flipped: float = 0.0) -> pa.Table:
    """Synthetic customers; young ones with a basic plan churn most often.

    :param older: years that are added to each age.
    :param flipped: share of the customers whose label is inverted.
    """
    generator = np.random.default_rng(seed)
    age = generator.normal(45, 12, rows)
    income = np.exp(generator.normal(10, 0.5, rows))
    income[generator.random(rows) < 0.03] = np.nan
    plan = generator.choice(["basic", "plus", "gold"], rows, p=[0.5, 0.3, 0.2])
    tendency = (45 - age) / 6 + np.where(plan == "basic", 1.0, -1.0)
    churned = generator.random(rows) < 1 / (1 + np.exp(-tendency))
    churned ^= generator.random(rows) < flipped
    return pa.table(
        {
            "age": age + older,
            "income": pa.array(income, from_pandas=True),
            "plan": plan,
            "churned": np.where(churned, "yes", "no"),
        }
    )


def records(table: pa.Table) -> list[dict[str, Any]]:
    """The features of the rows in the form of a request."""
    return table.select(list(FEATURES)).to_pylist()


def store(workspace: Workspace, table: pa.Table, name: str) -> Dataset:
    with DatasetWriter(workspace.uri("datasets", name), name) as writer:
        writer.write(table)
        return writer.commit()


def with_task(workspace: Workspace, task_id: str, run_id: str = "manual__1") -> Workspace:
    """The same workspace for another task."""
    return workspace.model_copy(
        update={"task": workspace.task.model_copy(update={"task_id": task_id, "run_id": run_id})}
    )


def pipeline(c: float = 1.0) -> Pipeline:
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    columns = ColumnTransformer(
        [("numbers", numbers, ["age", "income"]), ("plan", OneHotEncoder(handle_unknown="ignore"), ["plan"])]
    )
    return make_pipeline(columns, LogisticRegression(C=c, max_iter=500))


def train(
    workspace: Workspace, name: str = "churn", *, c: float = 1.0, run_id: str = "manual__1", evaluated: bool = False
) -> ModelVersion:
    """Train and register a version; with `evaluated`, profile its data and evaluate it too."""
    workspace = with_task(workspace, "train", run_id)
    registry = workspace.registry()
    table = customers(3000, seed=1)
    rows: pd.DataFrame = feature_rows(table, FEATURES)
    fitted = pipeline(c).fit(rows, table["churned"].to_pylist())
    version_tags = {tags.TARGET: "churned", tags.PROBLEM: "classification"}
    if evaluated:
        profile_uri = workspace.uri("profiles") + "/profile.json"
        profile(store(workspace, table, "train").table(), target="churned").write(profile_uri)
        version_tags[tags.PROFILE_URI] = profile_uri
    with open_run(registry, workspace.task, "train") as run:
        metadata = {"problem": "classification", "target": "churned", "classes": fitted.classes_.tolist()}
        model_id = registration.log_model(run, fitted, rows, pip_requirements=["scikit-learn"], metadata=metadata)
        model = registration.register(run, name, model_id, workspace.task, tags=version_tags)
    if evaluated:
        test = store(with_task(workspace, "prepare"), customers(1500, seed=2), "test")
        spec = EvaluateSpec(model=model, dataset=test, target="churned", resamples=200)
        evaluate(spec, with_task(workspace, "evaluate", run_id))
    return model
