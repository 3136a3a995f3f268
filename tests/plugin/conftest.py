"""The fixtures of a real Airflow."""

from tests.airflow_session import airflow_database, run_dag, storage

__all__ = ["airflow_database", "run_dag", "storage"]
