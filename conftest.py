"""Gives the tests an Airflow of their own, before anything imports Airflow and reads whose it is."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

pytest_plugins = ["tests.helpers.airflow.session", "tests.helpers.airflow.api_server", "tests.helpers.mlflow_server"]

for name in [name for name in os.environ if name.startswith(("AIRFLOW__", "AIRFLOW_CONN_", "AIRFLOW_VAR_"))]:
    del os.environ[name]

home = tempfile.mkdtemp(prefix="mlops-tests-airflow-")
atexit.register(shutil.rmtree, home, ignore_errors=True)
os.mkdir(os.path.join(home, "dags"))
os.environ |= {
    "AIRFLOW_HOME": home,
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
    "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
}
