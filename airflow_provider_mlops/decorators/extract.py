"""`@task.mlops_extract`: a function that returns the rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from airflow_provider_mlops.decorators.step import step_task
from airflow_provider_mlops.operators.extract import ExtractDataOperator


def extract_task(python_callable: Callable[..., Any] | None = None, **settings: Any) -> Any:
    """Make a function the `source` of a ExtractDataOperator.

    The decorator and the call both take the operator's arguments; the call returns the step's results.
    """
    return step_task(
        ExtractDataOperator,
        lambda function: {"source": {"kind": "code", "function": function}},
        python_callable,
        settings,
    )
