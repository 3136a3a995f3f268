"""MLflow's usage statistics are off before MLflow is imported for the first time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import importlib, os, sys
importlib.import_module(sys.argv[1])
assert "mlflow" not in sys.modules, "MLflow was imported before a registry was made"
from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.settings import RegistrySettings
Registry(RegistrySettings(sys.argv[2]))
from mlflow.telemetry.client import get_telemetry_client
print(get_telemetry_client() is None, os.environ["MLFLOW_DISABLE_TELEMETRY"], os.environ["GX_ANALYTICS_ENABLED"])
"""


def run(module: str, tmp_path: Path, **environment: str) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW", "GX_", "PYTEST"))}
    command = [sys.executable, "-c", SCRIPT, module, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=clean | environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    "module",
    [
        "airflow_provider_mlops.lifecycle.train.step",
        "airflow_provider_mlops.serving.gateway.workers.server",
        "airflow_provider_mlops.hooks.mlflow",
    ],
)
def test_telemetry_is_off_by_default(module: str, tmp_path: Path) -> None:
    assert run(module, tmp_path) == "True true false"


def test_a_user_can_keep_great_expectations_statistics(tmp_path: Path) -> None:
    output = run("airflow_provider_mlops.lifecycle.train.step", tmp_path, GX_ANALYTICS_ENABLED="true")
    assert output == "True true true"
