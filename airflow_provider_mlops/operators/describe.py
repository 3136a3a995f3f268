"""The docstring of an operator, from the field descriptions of its step's Spec."""

from __future__ import annotations

import inspect
import textwrap
from typing import Any

from airflow_provider_mlops.lifecycle.step import Step

_OWN = """\
:param runtime: Where the step runs: in the task's process by default, or e.g. under another interpreter with
    `PythonRuntime("/opt/training/bin/python")`.
:param mlflow_conn_id: The connection of type `mlflow`. Where it is not configured, an MLflow store under
    `[mlops] storage_uri` is used.
:param gateway_conn_id: The connection of type `mlops_gateway`. Where it is not configured, the gateway is looked
    for at http://127.0.0.1:8710."""


def describe(about: str, step: Step[Any, Any]) -> str:
    """What the class says of itself, then one `:param:` a field, then what lands in XCom."""
    lines = [inspect.cleandoc(about), ""]
    for name, field in step.spec.model_fields.items():
        text = " ".join((field.description or "").split())
        need = " Required." if field.is_required() else ""
        lines += textwrap.wrap(f":param {name}: {text}{need}", 110, subsequent_indent="    ", break_long_words=False)
    lines += [_OWN, "", "XCom keys: " + ", ".join(f"`{name}`" for name in step.result.model_fields) + "."]
    return "\n".join(lines)
