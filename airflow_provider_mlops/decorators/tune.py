"""`@task.mlops_tune`: a function that returns the estimator for a trial's parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_mlops.decorators.step import step_task
from airflow_provider_mlops.operators.tune import TuneModelOperator


def tune_task(python_callable: Callable[..., Any] | None = None, **settings: Any) -> Any:
    """Make a function the `code` of a TuneModelOperator.

    The decorator and the call both take the operator's arguments; the call returns the step's results.
    """
    return step_task(TuneModelOperator, lambda function: {"code": function}, python_callable, settings)
