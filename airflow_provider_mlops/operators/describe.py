"""The docstring of an operator, made from the field descriptions of its step's Spec."""

from __future__ import annotations

import inspect
import textwrap
from typing import Any

from airflow_provider_mlops.lifecycle.step import Step
from airflow_provider_mlops.serving.defaults import DEFAULT_GATEWAY_URL

_COMMON_ARGUMENTS = f"""\
:param runtime: The runtime that runs the step. Defaults to the task's own process; use
    `PythonRuntime("/opt/training/bin/python")`, for example, for another interpreter.
:param mlflow_conn_id: Id of a connection of type `mlflow`. If the connection does not exist, an MLflow store under
    `[mlops] storage_uri` is used.
:param gateway_conn_id: Id of a connection of type `mlops_gateway`. If the connection does not exist, the gateway is
    expected at {DEFAULT_GATEWAY_URL}."""


def describe(summary: str, step: Step[Any, Any]) -> str:
    """Return the summary, one `:param:` per field, and the XCom keys of the result."""
    lines = [inspect.cleandoc(summary), ""]
    for name, field in step.spec.model_fields.items():
        text = " ".join((field.description or "").split())
        need = " Required." if field.is_required() else ""
        lines += textwrap.wrap(f":param {name}: {text}{need}", 110, subsequent_indent="    ", break_long_words=False)
    keys = ", ".join(f"`{name}`" for name in step.result.model_fields)
    lines += [_COMMON_ARGUMENTS, "", f"XCom keys: {keys}."]
    return "\n".join(lines)
