"""Training with an MLflow server over HTTP: one that is unavailable, and one that requires a password."""

from __future__ import annotations

import subprocess
import sys
import time

import pandas
import pytest

from airflow_provider_mlops.errors import BackendUnavailableError, InvalidSpecError
from airflow_provider_mlops.lifecycle.train.spec import TrainResult
from airflow_provider_mlops.lifecycle.train.step import train
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.registry import models
from tests.helpers.training import plain_environment, spec_for


def test_an_unavailable_mlflow_is_reported_within_seconds(workspace: Workspace, free_port: int) -> None:
    unavailable = workspace.model_copy(update={"tracking_uri": f"http://127.0.0.1:{free_port}"})
    start = time.monotonic()
    with pytest.raises(BackendUnavailableError, match=rf"MLflow at http://127\.0\.0\.1:{free_port} is unavailable"):
        train(spec_for(workspace), unavailable)
    assert time.monotonic() - start < 15


def test_training_over_http_with_a_password(workspace: Workspace, guarded_mlflow_server: str) -> None:
    from pydantic import SecretStr

    url = guarded_mlflow_server
    spec = spec_for(workspace)
    remote = workspace.model_copy(update={"tracking_uri": url})

    def signed_in(password: str) -> Workspace:
        return remote.model_copy(
            update={"secrets": {"mlflow_username": SecretStr("admin"), "mlflow_password": SecretStr(password)}}
        )

    with pytest.raises(InvalidSpecError, match="rejects the credentials") as caught:
        train(spec, signed_in("wrong"))
    assert "wrong" not in str(caught.value)
    with pytest.raises(InvalidSpecError, match="rejects the credentials"):
        train(spec, remote)

    result: TrainResult = train(spec, signed_in("password1234"))
    registry = signed_in("password1234").registry()
    assert models.load(registry, result.model).predict(pandas.DataFrame({"a": [2.0], "b": [0.0]})) == [1]
    assert registry.url(result.mlflow_run_id, "1") == f"{url}/#/experiments/1/runs/{result.mlflow_run_id}"
    assert registry.model_url("churn", 1) == f"{url}/#/models/churn/versions/1"
    assert list(models.input_example(registry, result.model).columns) == ["a", "b"]
    again = train(spec, signed_in("password1234"))
    assert again.model == result.model
    assert len(registry.client.search_model_versions("name = 'churn'")) == 1

    script = (
        "import mlflow, sys, pandas\n"
        "print(mlflow.pyfunc.load_model('models:/churn/1').predict(pandas.DataFrame({'a': [2.0], 'b': [0.0]})))"
    )
    environment = {
        **plain_environment(),
        "MLFLOW_TRACKING_URI": url,
        "MLFLOW_TRACKING_USERNAME": "admin",
        "MLFLOW_TRACKING_PASSWORD": "password1234",
    }
    process = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, cwd="/", env=environment
    )
    assert process.stdout.split()[-1] == "[1]", process.stderr
