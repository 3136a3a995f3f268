"""Models and datasets for the tests of evaluate and validate, registered in the real MLflow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.data.dataset_writer import DatasetWriter
from airflow_provider_mlops.data.profile import Problem
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.registry import registration, tags
from airflow_provider_mlops.registry.model_version import ModelVersion
from airflow_provider_mlops.registry.rows import feature_rows, target_values
from airflow_provider_mlops.registry.run import open_run


def customers(rows: int, seed: int, *, classes: int = 2, text: bool = False) -> pd.DataFrame:
    """Return customers whose class depends on age and income with noise, but not on region and sex."""
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": generator.normal(45, 12, rows),
            "income": generator.normal(30, 8, rows),
            "visits": generator.integers(0, 6, rows),
            "region": generator.choice(["north", "south", "west"], rows, p=[0.5, 0.4, 0.1]),
            "sex": generator.choice(["f", "m"], rows),
        }
    )
    score = (frame.age - 45) / 12 + (frame.income - 30) / 8 + generator.normal(0, 0.7, rows)
    frame["spend"] = 100 + 20 * score
    cuts = np.quantile(score, np.linspace(0, 1, classes + 1)[1:-1])
    codes = np.searchsorted(cuts, score)
    names = np.array(["gone", "loyal", "new", "old"], dtype=object)
    frame["target"] = names[codes] if text else codes
    return frame


def write(workspace: Workspace, name: str, frame: pd.DataFrame) -> Dataset:
    """Write these rows as a dataset."""
    with DatasetWriter(workspace.uri("datasets", name), name) as writer:
        writer.write(pa.Table.from_pandas(frame, preserve_index=False))
        return writer.commit()


def fitted(dataset: Dataset, target: str, problem: Problem, features: Sequence[str], estimator: Any) -> Any:
    """Return a fitted Pipeline of preprocessing and the estimator."""
    from sklearn.compose import make_column_transformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    table = dataset.arrow()
    rows = feature_rows(table, features)
    text = [name for name in features if rows[name].dtype.kind == "O"]
    numbers = [name for name in features if name not in text]
    columns = make_column_transformer((StandardScaler(), numbers), (OneHotEncoder(handle_unknown="ignore"), text))
    return make_pipeline(columns, estimator).fit(rows, target_values(table, target, problem))


def register(
    workspace: Workspace,
    name: str,
    dataset: Dataset,
    target: str,
    problem: Problem,
    features: Sequence[str],
    estimator: Any,
    task_id: str = "train",
) -> ModelVersion:
    """Train on the dataset and register a version with the same metadata as the train step."""
    by = workspace.task.model_copy(update={"task_id": task_id})
    model = fitted(dataset, target, problem, features, estimator)
    with open_run(workspace.registry(), by, "train") as run:
        run.log_datasets([(dataset, "training")])
        model_id = registration.log_model(
            run,
            model,
            feature_rows(dataset.arrow(), features),
            metadata={"problem": problem, "target": target},
            pip_requirements=["scikit-learn"],
        )
        return registration.register(
            run, name, model_id, by, tags={tags.PROBLEM: problem, tags.TARGET: target}, work=task_id
        )
