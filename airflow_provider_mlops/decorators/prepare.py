"""`@task.mlops_prepare`: a function that makes features."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_mlops.decorators.step import step_task
from airflow_provider_mlops.operators.prepare import PrepareDataOperator


def prepare_task(python_callable: Callable[..., Any] | None = None, **settings: Any) -> Any:
    """Make a function the `features` of a PrepareDataOperator.

    The decorator and the call both take the operator's arguments; the call returns the step's results.
    """
    return step_task(PrepareDataOperator, lambda function: {"features": function}, python_callable, settings)
