"""`@task.mlops_validate_data`: a function that returns the expectations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_mlops.decorators.step import step_task
from airflow_provider_mlops.operators.validate_data import ValidateDataOperator


def validate_data_task(python_callable: Callable[..., Any] | None = None, **settings: Any) -> Any:
    """Make a function the `suite_code` of a ValidateDataOperator.

    The decorator and the call both take the operator's arguments; the call returns the step's results.
    """
    return step_task(ValidateDataOperator, lambda function: {"suite_code": function}, python_callable, settings)
