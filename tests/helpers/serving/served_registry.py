"""Models in a real MLflow registry, made once per test session, for gateways to serve."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import mlflow.sklearn
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from airflow_provider_mlops.data.task_identity import TaskIdentity
from airflow_provider_mlops.registry import registration
from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.model_version import ModelVersion
from airflow_provider_mlops.registry.run import open_run
from airflow_provider_mlops.registry.settings import RegistrySettings

CANCER, CANCER_TARGET = load_breast_cancer(return_X_y=True, as_frame=True)
CANCER = CANCER.astype(np.float64)


def customers(rows: int = 200, seed: int = 0) -> pd.DataFrame:
    """Numbers with and without missing ones, text, and booleans."""
    generator = np.random.default_rng(seed)
    age = generator.normal(45, 12, rows).round(1)
    age[::7] = np.nan
    return pd.DataFrame(
        {
            "age": age,
            "income": generator.gamma(2.0, 20_000, rows).round(2),
            "town": generator.choice(["Rome", "Milan", "Turin"], rows),
            "member": generator.random(rows) < 0.4,
        }
    )


CUSTOMERS = customers()
CHURNED = np.where((CUSTOMERS["age"].fillna(45) < 45) ^ CUSTOMERS["member"], "yes", "no")


def cancer_model(regularization: float) -> Pipeline:
    """A classifier of numbers only, that takes no missing value."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=regularization)).fit(CANCER, CANCER_TARGET)


def churn_model() -> Pipeline:
    """A classifier with text labels that picks columns by name: `age` may be missing, `income` may not."""
    columns = ColumnTransformer(
        [
            ("age", SimpleImputer(), ["age"]),
            ("income", StandardScaler(), ["income"]),
            ("town", OneHotEncoder(handle_unknown="error"), ["town"]),
            ("member", "passthrough", ["member"]),
        ]
    )
    return make_pipeline(columns, LogisticRegression(max_iter=2000)).fit(CUSTOMERS, CHURNED)


def price_model() -> RandomForestRegressor:
    """A regressor that is no Pipeline and takes missing values everywhere."""
    features = CANCER[["mean radius", "mean texture"]]
    return RandomForestRegressor(20, random_state=0, n_jobs=-1).fit(features, CANCER["mean area"])


def register(registry: Registry, name: str, model: Any, features: pd.DataFrame, run_id: str) -> ModelVersion:
    """Log a model in a run and make it a version."""
    task = TaskIdentity(dag_id="serving", run_id=run_id, task_id=name)
    with open_run(registry, task, "train") as run:
        return registration.register(run, name, registration.log_model(run, model, features, pip_requirements=[]), task)


def register_pickled(registry: Registry, name: str, model: Any, directory: Path) -> ModelVersion:
    """A version as others save them: with cloudpickle."""
    path = directory / f"{name}-pickled"
    mlflow.sklearn.save_model(
        model,
        str(path),
        serialization_format="cloudpickle",
        pip_requirements=[],
        signature=mlflow.models.infer_signature(CANCER, model.predict(CANCER)),
    )
    version = registry.client.create_model_version(name, path.as_uri())
    return ModelVersion(name=name, version=int(version.version), run_id="")


def build(directory: Path) -> None:
    """The registry that every test's gateway begins with.

    - `cancer`: 1 is the champion, 2 another good one, 3 lost its file, 4 is pickled, 5 has no signature.
    - `churn` and `price`: one version each, which is the champion.
    """
    registry = Registry(RegistrySettings(str(directory)))
    register(registry, "cancer", cancer_model(1.0), CANCER, "1")
    register(registry, "cancer", cancer_model(0.01), CANCER, "2")
    before = set(directory.rglob("model.*"))
    register(registry, "cancer", cancer_model(0.5), CANCER, "3")
    (broken,) = set(directory.rglob("model.*")) - before
    broken.write_bytes(b"no model")
    register_pickled(registry, "cancer", cancer_model(1.0), directory)
    bare = directory / "bare"
    mlflow.sklearn.save_model(cancer_model(1.0), str(bare), serialization_format="skops", pip_requirements=[])
    registry.client.create_model_version("cancer", bare.as_uri())
    register(registry, "churn", churn_model(), CUSTOMERS, "1")
    register(registry, "price", price_model(), CANCER[["mean radius", "mean texture"]], "1")
    for name in ("cancer", "churn", "price"):
        registry.client.set_registered_model_alias(name, "champion", "1")


def copy_to(template: Path, storage: Path) -> None:
    """Give a test its own aliases and log. The models' files stay where they are, since nobody changes them."""
    storage.mkdir(parents=True, exist_ok=True)
    shutil.copy(template / "mlflow.db", storage / "mlflow.db")
