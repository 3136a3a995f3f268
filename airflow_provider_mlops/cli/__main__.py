"""Run the command line: `python -m airflow_provider_mlops.cli`."""

from airflow_provider_mlops.cli.app import app

app(prog_name="airflow-mlops")
