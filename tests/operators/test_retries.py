"""An unavailable backend: the message says that Airflow will retry only if it will."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_provider_mlops.errors import BackendUnavailableError
from airflow_provider_mlops.operators.identity import report_retries
from tests.helpers.airflow.ripen import RipenOperator


@pytest.mark.parametrize(("try_number", "max_tries", "end"), [(1, 2, "; Airflow will retry."), (3, 2, "Check it.")])
def test_the_message_says_whether_airflow_will_retry(try_number: int, max_tries: int, end: str) -> None:
    context: Any = {"ti": SimpleNamespace(try_number=try_number, max_tries=max_tries)}
    with pytest.raises(BackendUnavailableError) as caught, report_retries(context):
        raise BackendUnavailableError("MLflow", "http://mlflow:5000", "connection refused", "Check it")
    assert str(caught.value).endswith(end)


@pytest.mark.parametrize("retries", [0, 1])
def test_an_operator_knows_its_retries(run_dag: Any, monkeypatch: pytest.MonkeyPatch, retries: int) -> None:
    errors: list[BackendUnavailableError] = []
    original = RipenOperator.run_step

    def note(self: RipenOperator, context: Any) -> Any:
        try:
            return original(self, context)
        except BackendUnavailableError as error:
            errors.append(error)
            raise

    monkeypatch.setattr(RipenOperator, "run_step", note)
    with DAG(dag_id=f"retries_{retries}", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as built:
        RipenOperator(task_id="ripen", fruit="pear", weather="away", retries=retries, retry_delay=timedelta(0))
    run_dag(built)
    assert "The orchard at http://orchard:1 is unavailable" in str(errors[0])
    assert ("Airflow will retry" in str(errors[0])) is bool(retries)
