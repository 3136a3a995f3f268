"""Installations into empty environments, without constraints: what a user's first command brings, and how much."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
UV = ROOT / ".venv/bin/uv"

IMPORT_EVERYTHING = """
import importlib, pkgutil
import airflow_provider_mlops as package
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""

IMPORT_WHAT_AIRFLOW_PARSES = """
import importlib
from airflow_provider_mlops.get_provider_info import get_provider_info
for kind in ("operators", "sensors", "triggers", "hooks"):
    for entry in get_provider_info()[kind]:
        for name in entry["python-modules"]:
            importlib.import_module(name)
importlib.import_module("airflow_provider_mlops.plugin.plugin")
"""


def run(*command: str | Path, **variables: str) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "PYTHON"))}
    finished = subprocess.run(
        list(map(str, command)), env=environment | variables, capture_output=True, text=True, timeout=1500, check=False
    )
    assert finished.returncode == 0, finished.stdout[-2000:] + finished.stderr[-4000:]
    return finished.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    run(UV, "build", "--wheel", "--out-dir", directory, ROOT)
    return next(directory.glob("*.whl"))


def interpreter(version: str) -> str:
    finished = subprocess.run([UV, "python", "find", version], capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        pytest.skip(f"Python {version} is not installed")
    return finished.stdout.strip()


def distributions(environment: Path) -> set[str]:
    return {path.name for path in environment.glob("lib/*/site-packages/*.dist-info")}


def megabytes(environment: Path) -> float:
    return sum(path.stat().st_size for path in environment.glob("lib/**/*") if path.is_file()) / 1e6


@pytest.mark.parametrize("version", ["3.11", "3.13"])
def test_an_unconstrained_installation_imports_everything(version: str, wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    run(interpreter(version), "-m", "venv", environment)
    run(environment / "bin/pip", "install", "--quiet", f"{wheel}[airflow]")
    run(environment / "bin/python", "-c", IMPORT_EVERYTHING, AIRFLOW_HOME=str(tmp_path))


def test_the_base_adds_little_to_airflow_and_is_enough_to_parse_dags(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    run(UV, "venv", "--quiet", "--python", sys.executable, environment)
    providers = [f"apache-airflow-providers-{name}" for name in ("common-compat", "common-sql", "standard")]
    constraints = ROOT / f"constraints/python-{sys.version_info[0]}.{sys.version_info[1]}.txt"
    install = (UV, "pip", "install", "--quiet", "--python", environment / "bin/python", "--constraints", constraints)
    run(*install, "apache-airflow", *providers)
    before, size = distributions(environment), megabytes(environment)
    run(*install, wheel)
    added = distributions(environment) - before
    assert len(added) <= 15, sorted(added)
    assert megabytes(environment) - size <= 60
    run(environment / "bin/python", "-c", IMPORT_WHAT_AIRFLOW_PARSES, AIRFLOW_HOME=str(tmp_path))
