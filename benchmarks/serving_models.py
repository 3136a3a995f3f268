"""The models of the serving benchmark, in an MLflow registry of their own, and the requests for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from airflow_provider_mlops.data.task_identity import TaskIdentity
from airflow_provider_mlops.registry import registration
from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.run import open_run
from airflow_provider_mlops.registry.settings import RegistrySettings
from airflow_provider_mlops.serving.client.client import GatewayClient
from airflow_provider_mlops.serving.gateway.access import local_key
from benchmarks import serving_servers

LOGISTIC, BOOSTING = "logistic", "boosting"
NAMES = (LOGISTIC, BOOSTING)
TITLES = {LOGISTIC: "logistic regression of 30 numbers", BOOSTING: "gradient boosting of 200 trees"}
VERSIONS = 3
"""How many more versions of each model are loaded to see what one takes."""


def build(storage: Path, directory: Path) -> dict[str, Path]:
    """Train and register both models. Returns a file with the body of a request for each."""
    features, target = load_breast_cancer(return_X_y=True, as_frame=True)
    features = features.astype(np.float64)
    registry = Registry(RegistrySettings(str(storage)))
    estimators: dict[str, Any] = {
        LOGISTIC: make_pipeline(StandardScaler(), LogisticRegression()),
        BOOSTING: GradientBoostingClassifier(n_estimators=200),
    }
    split = json.loads(features.head(1).to_json(orient="split", index=False))
    bodies = {}
    for name, estimator in estimators.items():
        fitted = estimator.fit(features, target)
        for number in range(1 + VERSIONS):
            task = TaskIdentity(dag_id="benchmark", run_id=str(number), task_id=name)
            with open_run(registry, task, "train") as run:
                uri = registration.log_model(run, fitted, features, pip_requirements=[], trusted_types=TRUSTED)
                registration.register(run, name, uri, task)
        registry.client.set_registered_model_alias(name, "champion", "1")
        bodies[name] = directory / f"{name}.json"
        bodies[name].write_text(json.dumps({"dataframe_split": split}))
    return bodies


def memory_by_version(directory: Path) -> float:
    """MiB that a gateway takes on with one more version of the larger model."""
    storage = directory / "storage"
    with serving_servers.gateway(directory, storage, "memory", "--model", BOOSTING) as server:
        before = server.memory()
        with GatewayClient(server.url, local_key.find(str(storage))) as client:
            for version in range(2, 2 + VERSIONS):
                client.load(BOOSTING, version)
        return (server.memory() - before) / VERSIONS


TRUSTED = (
    "sklearn._loss._loss.CyHalfBinomialLoss",
    "sklearn._loss.link.Interval",
    "sklearn._loss.link.LogitLink",
    "sklearn._loss.loss.HalfBinomialLoss",
    "sklearn.tree._tree.Tree",
)
