"""What a step's log holds besides the step's own lines, looked at in processes that have imported nothing yet."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

START = """
import logging, sys
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(levelname)s %(name)s %(message)s")
from airflow_provider_mlops.lifecycle.third_party_logs import quiet_third_party_loggers
"""
BUSINESS = """
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


def test_the_daily_business_of_libraries_is_not_told(tmp_path: Path) -> None:
    done = python(START + BUSINESS.format(storage=tmp_path))
    assert (done.stdout, done.stderr) == ("", "")


def test_an_mlflow_that_was_imported_before_warns_through_the_steps_log() -> None:
    done = python(START + AFTER_AN_IMPORT)
    assert (done.stdout, done.stderr) == ("WARNING mlflow.store heed this\n", "")


def test_skops_is_imported_beside_airflow_without_a_warning() -> None:
    code = """
import warnings
import airflow.sdk, airflow.serialization.serde, airflow.utils.entry_points, airflow.utils.trigger_rule
from airflow_provider_mlops.registry import packaging
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    packaging.import_skops().io
assert not caught, [str(one.message) for one in caught[:3]]
"""
    python(code)
