"""The example DAG of each strategy, run to its end against a real gateway with replayed traffic."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from airflow_provider_mlops.registry import audit, models
from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.settings import RegistrySettings
from airflow_provider_mlops.serving.gateway.admin import token
from tests.dags.test_example_dags import DAGS, load
from tests.helpers.live_gateway import LiveGateway
from tests.helpers.served_registry import CANCER, CANCER_TARGET, cancer_model, register

QUICK = {"check_interval": 0.3, "bake_time": 0, "min_requests": 30}


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory, mlflow_database: Path) -> Iterator[LiveGateway]:
    """One gateway for all tests, each of which has models of its own."""
    storage = tmp_path_factory.mktemp("mlops")
    shutil.copy(mlflow_database, storage / "mlflow.db")
    with LiveGateway(storage) as running:
        yield running


@pytest.fixture
def storage(serving: LiveGateway, monkeypatch: pytest.MonkeyPatch) -> Path:
    document = {"conn_type": "mlops_gateway", "host": serving.url, "password": token.find(str(serving.storage))}
    monkeypatch.setenv("AIRFLOW_CONN_MLOPS_GATEWAY_DEFAULT", json.dumps(document))
    monkeypatch.setenv("AIRFLOW__MLOPS__STORAGE_URI", str(serving.storage))
    return serving.storage


@pytest.fixture
def registry(storage: Path) -> Registry:
    return Registry(RegistrySettings(str(storage)))


@pytest.fixture
def made(serving: LiveGateway, registry: Registry) -> Callable[..., None]:
    """A function that makes a model with a champion and a challenger: the first one good, or clueless."""

    def make(name: str, *, is_clueless: bool = False) -> None:
        random = np.random.default_rng(0).permutation(CANCER_TARGET)
        clueless = make_pipeline(StandardScaler(), LogisticRegression()).fit(CANCER, random)
        register(registry, name, clueless if is_clueless else cancer_model(0.5), CANCER, "1")
        register(registry, name, cancer_model(1.0), CANCER, "2")
        registry.client.set_registered_model_alias(name, "champion", "1")
        registry.client.set_registered_model_alias(name, "challenger", "2")
        with serving.client() as client:
            serving.wait(lambda: client.model_ready(name), serving.storage / "gateway.log")

    return make


@pytest.fixture
def traffic(serving: LiveGateway, tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """A function that lets traffic come in from another process, until the test ends."""
    rows = CANCER.assign(target=CANCER_TARGET, user=np.arange(len(CANCER)) % 200)
    rows["segment"] = np.where(rows["user"] % 2, "new", "loyal")
    path = tmp_path / "rows.parquet"
    pd.DataFrame(rows).to_parquet(path)
    running: list[subprocess.Popen[bytes]] = []

    def start(model: str) -> None:
        command = [sys.executable, "-m", "airflow_provider_mlops.cli", "traffic", str(path), model]
        command += ["--gateway", serving.url, "--rate", "150", "--seconds", "150", "--repeat", "--target", "target"]
        command += ["--reward-from", "correct", "--header", "X-User-Id=user", "--header", "X-Segment=segment"]
        running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))

    yield start
    for process in running:
        process.terminate()
        process.wait(30)


@pytest.fixture
def roll_out(
    run_dag: Callable[..., Any], made: Callable[..., None], traffic: Callable[[str], None]
) -> Callable[..., Any]:
    """A function that runs an example for a new model while traffic comes in."""

    def run(name: str, model: str, *, is_clueless: bool = False, **form: Any) -> Any:
        (dag,) = load(DAGS / "rollouts" / f"{name}.py").values()
        made(model, is_clueless=is_clueless)
        traffic(model)
        known = {name: value for name, value in QUICK.items() if name in dag.params}
        return run_dag(dag, run_conf={"model_name": model, **known, **form})

    return run


def trail(registry: Registry, model: str) -> list[tuple[str, int | None]]:
    return [(entry.action, entry.to_version) for entry in audit.entries(registry, model)]


def test_direct(roll_out: Callable[..., Any], registry: Registry) -> None:
    ran = roll_out("direct", "direct", max_ms=2000)
    assert ran.state == "success"
    assert ran.xcoms("rollout")["status"] == "promoted"
    assert models.aliases(registry, "direct")["champion"] == 2
    assert models.aliases(registry, "direct")["previous"] == 1


def test_shadow_then_canary(roll_out: Callable[..., Any], registry: Registry) -> None:
    ran = roll_out("shadow_then_canary", "shadow", agreement=0.8)
    assert ran.state == "success"
    assert ran.xcoms("shadow")["status"] == "ended"
    assert {finding["verdict"] for finding in ran.xcoms("shadow")["findings"]} == {"better"}
    assert ran.xcoms("canary")["status"] == "promoted"
    assert trail(registry, "shadow") == [("keep", 1), ("promote", 2)]


def test_shadow_stops_at_a_version_that_says_something_else(roll_out: Callable[..., Any], registry: Registry) -> None:
    ran = roll_out("shadow_then_canary", "other", is_clueless=True)
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


def test_ab_test(roll_out: Callable[..., Any], registry: Registry) -> None:
    ran = roll_out("ab_test", "tested", is_clueless=True, min_effect=0.3, baseline=0.5)
    assert ran.state == "success"
    assert ran.xcoms("rollout")["status"] == "promoted"
    (finding,) = ran.xcoms("rollout")["findings"]
    assert finding["verdict"] == "better"


def test_bandit(roll_out: Callable[..., Any], registry: Registry) -> None:
    ran = roll_out("bandit", "bandit", is_clueless=True)
    assert ran.state == "success"
    assert ran.xcoms("rollout")["status"] == "promoted"
    assert "best with a probability" in ran.xcoms("rollout")["reason"]


def test_contextual_bandit(roll_out: Callable[..., Any], registry: Registry) -> None:
    ran = roll_out("contextual_bandit", "contextual", is_clueless=True)
    assert ran.state == "success"
    assert ran.xcoms("rollout")["status"] == "promoted"
