"""What is missing is named: a step in an environment that has only the base installation says which extra it needs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from airflow_provider_mlops import __version__
from airflow_provider_mlops.extras import INCLUDES, MODULES
from airflow_provider_mlops.lifecycle.step import load
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.step_names import STEPS

ROOT = Path(__file__).parents[1]
BASE_PYTHON = os.environ.get("MLOPS_BASE_PYTHON") or str(ROOT / ".venv-base/bin/python")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MODULE_OF = {"scikit-learn": "sklearn", "ibis-framework": "ibis", "grpcio": "grpc"}


def distributions(extra: str) -> list[str]:
    names = [re.split(r"[\[<>=;! ]", requirement)[0] for requirement in PROJECT["optional-dependencies"][extra]]
    return [name for name in names if name not in ("airflow-provider-mlops", "protobuf", "uvloop")]


@pytest.mark.parametrize("extra", MODULES)
def test_an_extra_brings_the_modules_that_are_looked_for(extra: str) -> None:
    modules = {MODULE_OF.get(name, name.replace("-", "_")) for name in distributions(extra)}
    assert set(MODULES[extra]) == modules


@pytest.mark.parametrize("extra", MODULES)
def test_an_extra_includes_what_the_project_says(extra: str) -> None:
    own = [text for text in PROJECT["optional-dependencies"][extra] if text.startswith("airflow-provider-mlops[")]
    included = {name for text in own for name in text.partition("[")[2].rstrip("]").split(",")}
    assert set(INCLUDES.get(extra, ())) == included


def test_the_extra_steps_is_enough_for_every_step() -> None:
    (text,) = PROJECT["optional-dependencies"]["steps"]
    included = set(text.partition("[")[2].rstrip("]").split(","))
    assert {extra for step in STEPS for extra in load(step).extras} <= included


@pytest.mark.parametrize("step", [step for step in STEPS if load(step).extras])
def test_a_step_without_its_extra_names_it_before_any_work(step: str, workspace: Workspace, tmp_path: Path) -> None:
    request, result = tmp_path / "request.json", tmp_path / "result.json"
    content = {"step": step, "workspace": workspace.model_dump(mode="json"), "version": __version__}
    request.write_text(json.dumps({**content, "spec": {}}))
    command = [BASE_PYTHON, "-m", "airflow_provider_mlops.lifecycle", str(request), str(result)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert finished.returncode == 1, finished.stderr
    error = json.loads(result.read_text())["error"]
    assert error["type"] == "MissingExtraError"
    assert error["args"][1] == load(step).extras[0]
