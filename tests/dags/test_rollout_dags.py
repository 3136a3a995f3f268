"""The example DAG of each strategy, run to its end against a real gateway with replayed traffic."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder

from airflow_provider_mlops.data.samples.customers import CustomersSample, customers_for_training
from airflow_provider_mlops.operators.rollout import RolloutOperator
from airflow_provider_mlops.registry import audit, models
from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.settings import RegistrySettings
from airflow_provider_mlops.serving.gateway.access import local_key
from airflow_provider_mlops.serving.log import prediction_log
from tests.dags.test_example_dags import DAGS, load
from tests.helpers.serving.live_gateway import LiveGateway
from tests.helpers.serving.served_registry import register

ROWS = customers_for_training(2000).to_pandas()
FEATURES, CHURNED = ROWS.drop(columns="churned"), ROWS["churned"]


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory, mlflow_database: Path) -> Iterator[LiveGateway]:
    """One gateway for all tests, each of which has models of its own."""
    storage = tmp_path_factory.mktemp("mlops")
    shutil.copy(mlflow_database, storage / "mlflow.db")
    with LiveGateway(storage) as running:
        yield running


@pytest.fixture
def storage(serving: LiveGateway, monkeypatch: pytest.MonkeyPatch) -> Path:
    document = {"conn_type": "mlops_gateway", "host": serving.url, "password": local_key.find(str(serving.storage))}
    monkeypatch.setenv("AIRFLOW_CONN_MLOPS_GATEWAY_DEFAULT", json.dumps(document))
    monkeypatch.setenv("AIRFLOW__MLOPS__STORAGE_URI", str(serving.storage))
    return serving.storage


@pytest.fixture
def registry(storage: Path) -> Registry:
    return Registry(RegistrySettings(str(storage)))


def model(labels: pd.Series) -> Pipeline:
    """A classifier of the customers."""
    encoder = make_column_transformer(
        (OneHotEncoder(sparse_output=False), ["segment", "city", "plan"]), remainder="passthrough"
    )
    return make_pipeline(encoder, HistGradientBoostingClassifier(max_iter=20)).fit(FEATURES, labels)


@pytest.fixture(scope="module")
def good() -> Pipeline:
    return model(CHURNED)


@pytest.fixture(scope="module")
def contrary() -> Pipeline:
    """A classifier that is nearly always wrong."""
    return model(1 - CHURNED)


@pytest.fixture
def made(serving: LiveGateway, registry: Registry, good: Pipeline, contrary: Pipeline) -> Callable[..., None]:
    """A function that makes a model with a champion and a challenger: the champion good, or nearly always wrong."""

    def make(name: str, *, is_contrary: bool = False) -> None:
        register(registry, name, contrary if is_contrary else good, FEATURES, "1")
        register(registry, name, good, FEATURES, "2")
        registry.client.set_registered_model_alias(name, "champion", "1")
        registry.client.set_registered_model_alias(name, "challenger", "2")
        with serving.client() as client:
            serving.wait(lambda: client.model_ready(name), "it serves")

    return make


@pytest.fixture
def traffic(serving: LiveGateway, tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """A function that starts traffic from another process, until the test ends."""
    rows, _ = CustomersSample(2000).write(tmp_path)
    running: list[subprocess.Popen[bytes]] = []

    def start(model: str) -> None:
        command = [sys.executable, "-m", "airflow_provider_mlops.cli", "traffic", str(rows), model]
        command += ["--gateway", serving.url, "--rate", "100", "--seconds", "280", "--repeat", "--target", "churned"]
        command += ["--reward-from", "correct", "--header", "X-User-Id=customer_id"]
        running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))

    yield start
    for process in running:
        process.terminate()
        process.wait(30)


@pytest.fixture
def roll_out(
    run_dag: Callable[..., Any], made: Callable[..., None], traffic: Callable[[str], None]
) -> Callable[..., Any]:
    """A function that runs an example for a new model during traffic, with more checks than the example has."""

    def run(name: str, model: str, *, is_contrary: bool = False) -> Any:
        (dag,) = load(DAGS / "rollouts" / f"{name}.py").values()
        for task in dag.tasks:
            if isinstance(task, RolloutOperator):
                task.check_interval, task.min_requests = 0.3, 30
        made(model, is_contrary=is_contrary)
        traffic(model)
        return run_dag(dag, run_conf={"model_name": model, "bake_time": 0})

    return run


def trail(registry: Registry, model: str) -> list[tuple[str, int | None]]:
    return [(entry.action, entry.to_version) for entry in audit.entries(registry, model)]


def test_direct(roll_out: Callable[..., Any], registry: Registry) -> None:
    ran = roll_out("direct", "direct")
    assert ran.state == "success"
    assert ran.xcoms("rollout")["status"] == "promoted"
    assert models.aliases(registry, "direct")["champion"] == 2
    assert models.aliases(registry, "direct")["previous"] == 1


def test_shadow_then_canary(roll_out: Callable[..., Any], registry: Registry) -> None:
    ran = roll_out("shadow_then_canary", "shadow")
    assert ran.state == "success"
    assert ran.xcoms("shadow")["status"] == "ended"
    assert {finding["verdict"] for finding in ran.xcoms("shadow")["findings"]} == {"better"}
    assert ran.xcoms("canary")["status"] == "promoted"
    assert trail(registry, "shadow") == [("keep", 1), ("promote", 2)]


def test_shadow_stops_at_a_version_that_says_something_else(roll_out: Callable[..., Any], registry: Registry) -> None:
    ran = roll_out("shadow_then_canary", "other", is_contrary=True)
    assert ran.xcoms("shadow")["status"] == "rolled_back"
    assert "agreement" in ran.xcoms("shadow")["reason"].lower()
    assert ran.states()["canary"] == "skipped"
    assert models.aliases(registry, "other")["champion"] == 1


def test_canary(roll_out: Callable[..., Any], registry: Registry) -> None:
    ran = roll_out("canary", "canary")
    assert ran.state == "success"
    assert ran.xcoms("rollout")["status"] == "promoted"
    assert ran.xcoms("rollout")["step"] == 2
    assert ran.xcoms("healthy")["return_value"]["error_rate"] == 0
    assert trail(registry, "canary") == [("promote", 2)]


def test_own_people_first(roll_out: Callable[..., Any], registry: Registry, serving: LiveGateway) -> None:
    ran = roll_out("own_people_first", "people")
    assert ran.state == "success"
    assert (ran.xcoms("rollout")["status"], ran.xcoms("rollout")["step"]) == ("promoted", 2)
    assert "cohort" in {finding["arm"] for finding in ran.xcoms("rollout")["findings"]}
    logged = prediction_log.read(str(serving.storage), "people").execute()
    cohort = logged[logged["arm"] == "cohort"]
    assert (set(cohort["feature_city"]), set(cohort["version"])) == ({"Zürich"}, {2})
    # After the promotion, everyone gets the candidate, and nobody is part of the rollout's evidence.
    divided = logged[logged["rollout"].notna() & (logged["arm"] == "candidate")]
    assert len(divided)
    assert "Zürich" not in set(divided["feature_city"])


def test_ab_test(roll_out: Callable[..., Any], registry: Registry) -> None:
    ran = roll_out("ab_test", "tested", is_contrary=True)
    assert ran.state == "success"
    assert ran.xcoms("rollout")["status"] == "promoted"
    (finding,) = ran.xcoms("rollout")["findings"]
    assert finding["verdict"] == "better"


def test_bandit(roll_out: Callable[..., Any], registry: Registry) -> None:
    ran = roll_out("bandit", "bandit", is_contrary=True)
    assert ran.state == "success"
    assert ran.xcoms("rollout")["status"] == "promoted"
    assert "is the best version" in ran.xcoms("rollout")["reason"]


def test_contextual_bandit(roll_out: Callable[..., Any], registry: Registry) -> None:
    ran = roll_out("contextual_bandit", "contextual", is_contrary=True)
    assert ran.state == "success"
    assert ran.xcoms("rollout")["status"] == "promoted"
