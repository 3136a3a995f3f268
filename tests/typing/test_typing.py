"""Editors and type checkers see the arguments of operators, sensors and decorators."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

from airflow import __version__ as airflow_version
from airflow.sdk import BaseOperator
from airflow.sdk.bases.sensor import BaseSensorOperator
from packaging.version import Version

import airflow_provider_mlops
from airflow_provider_mlops.operators.task_arguments import TaskSettings
from airflow_provider_mlops.sensors.waiting import PollingArguments
from tools import operator_arguments

ROOT = Path(__file__).parents[2]
CHECKED = Path(__file__).with_name("check_operators.py")


def expected_errors() -> set[int]:
    return {
        number for number, line in enumerate(CHECKED.read_text().splitlines(), 1) if re.search(r"# error( |$)", line)
    }


def test_mypy_accepts_and_refuses_what_it_must():
    command = [sys.executable, "-m", "mypy", "--show-error-codes", "--no-error-summary", str(CHECKED)]
    output = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=280).stdout
    errors = {int(number): line for line in output.splitlines() for number in re.findall(r"\.py:(\d+): error", line)}
    assert set(errors) == expected_errors(), output


def test_pyright_accepts_and_refuses_what_it_must():
    # Pyright as it comes from the package index, with the Node.js that it needs.
    pyright = str(Path(sys.executable).with_name("basedpyright"))
    command = [pyright, "--outputjson", "--pythonpath", sys.executable, str(CHECKED)]
    output = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=280).stdout
    found = [entry for entry in json.loads(output)["generalDiagnostics"] if entry["severity"] == "error"]
    assert {entry["range"]["start"]["line"] + 1 for entry in found} == expected_errors(), output
    assert {"reportCallIssue", "reportArgumentType"} <= {entry["rule"] for entry in found}


def test_the_arguments_of_the_operators_are_fresh():
    assert operator_arguments.TARGET.read_text() == operator_arguments.generate(), "run `make stubs`"


def test_the_arguments_of_airflow_are_complete():
    declared = set(TaskSettings.__annotations__)
    taken = set(inspect.signature(BaseOperator.__init__).parameters) - {"self", "task_id", "kwargs"}
    if Version(airflow_version) < Version("3.3"):
        assert declared >= taken
    else:
        assert declared == taken
    polling = set(inspect.signature(BaseSensorOperator.__init__).parameters) - {"self", "kwargs"}
    assert set(PollingArguments.__annotations__) - declared - {"task_id"} == polling


def test_type_checkers_are_told_that_the_package_is_typed():
    package = Path(airflow_provider_mlops.__file__).parent
    assert (package / "py.typed").exists()
