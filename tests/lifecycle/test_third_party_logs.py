"""The log of a step without the chatter of libraries, in processes that have imported nothing before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

START = """
import logging, sys
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(levelname)s %(name)s %(message)s")
from airflow_provider_mlops.lifecycle.third_party_logs import quiet_third_party_loggers
"""
LIBRARIES = """
quiet_third_party_loggers()
from mlflow import MlflowClient
client = MlflowClient("sqlite:///{storage}/mlflow.db")
client.create_registered_model("churn")
client.create_model_version("churn", "{storage}", None)
import great_expectations
great_expectations.get_context(mode="ephemeral")
"""
AFTER_AN_IMPORT = """
import mlflow
quiet_third_party_loggers()
logging.getLogger("mlflow.store").info("nothing new")
logging.getLogger("mlflow.store").warning("heed this")
"""


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=True)


def test_routine_messages_of_libraries_are_not_logged(tmp_path: Path) -> None:
    process = python(START + LIBRARIES.format(storage=tmp_path))
    assert (process.stdout, process.stderr) == ("", "")


def test_mlflow_imported_before_the_step_logs_its_warnings_through_the_step() -> None:
    process = python(START + AFTER_AN_IMPORT)
    assert (process.stdout, process.stderr) == ("WARNING mlflow.store heed this\n", "")


def test_importing_skops_after_airflow_gives_no_warning() -> None:
    code = """
import warnings
import airflow.sdk, airflow.serialization.serde, airflow.utils.entry_points, airflow.utils.trigger_rule
from airflow_provider_mlops.registry import packaging
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    packaging.import_skops().io
assert not caught, [str(warning.message) for warning in caught[:3]]
"""
    python(code)
