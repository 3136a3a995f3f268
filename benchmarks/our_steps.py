"""The level 1 work with this package's steps, one after another in one process, without Airflow."""

from __future__ import annotations

from datetime import timedelta

from pydantic import SecretStr

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.data.task_identity import TaskIdentity
from airflow_provider_mlops.lifecycle.step import load
from airflow_provider_mlops.lifecycle.workspace import Workspace

MODEL = "our_steps"


def run(storage_uri: str, tracking_uri: str, gateway_url: str, key: str, run_id: str) -> None:
    """Run the steps of `dags/level_1/train_and_deploy.py` on the breast cancer data."""

    def step(name: str, **fields):
        workspace = Workspace(
            storage_uri=storage_uri,
            tracking_uri=tracking_uri,
            gateway_url=gateway_url,
            secrets={"gateway_key": SecretStr(key)},
            task=TaskIdentity(dag_id="our_steps", run_id=run_id, task_id=name),
        )
        definition = load(name)
        return definition.run(definition.parse(fields), workspace)

    source = {"kind": "sklearn", "name": "breast_cancer"}
    extracted = step("extract", dataset_name="breast_cancer", source=source, min_rows=100)
    analyzed = step("analyze", dataset=extracted.dataset, target="target")
    step(
        "validate_data",
        dataset=analyzed.dataset,
        reference_profile_uri=analyzed.profile_uri,
        on_value_skew="warn",
    )
    prepared = step(
        "prepare",
        dataset=extracted.dataset,
        target="target",
        split={"method": "stratified", "validation": 0.2, "test": 0.25},
        # Otherwise every round but the first would find its work done.
        reuse=False,
    )
    trained = step(
        "train",
        dataset=prepared.train,
        validation_dataset=prepared.validation,
        preprocessing=prepared.preprocessing,
        profile_uri=analyzed.profile_uri,
        target="target",
        problem="classification",
        estimator="sklearn.linear_model.LogisticRegression",
        parameters={"max_iter": 1000},
        model_name=MODEL,
    )
    evaluated = step("evaluate", model=trained.model, dataset=prepared.test, target="target", problem="classification")
    validated = step(
        "validate",
        model=trained.model,
        evaluation_uri=evaluated.evaluation_uri,
        # Computed, and always passed: a measurement must not end because a comparison is inconclusive.
        gates=[
            {"kind": "limit", "metric": "accuracy", "min_value": 0},
            {"kind": "champion", "metric": "accuracy", "margin": 1},
            {"kind": "signature"},
            {"kind": "infrastructure"},
        ],
    )
    step("deploy", model=trained.model, expected_champion=validated.champion_version)
    replay(prepared.test, gateway_url, key)
    step("monitor", model_name=MODEL, window=timedelta(hours=1))


def replay(test: Dataset, gateway_url: str, key: str) -> None:
    """Send the test rows and their labels, like the task `replay` of the example DAG."""
    from airflow_provider_mlops.serving.client.client import GatewayClient

    with GatewayClient(gateway_url, key) as gateway:
        for row in test.arrow().to_pylist():
            label = row.pop("target")
            gateway.feedback(gateway.infer(MODEL, [row]).prediction_ids[0], label)
