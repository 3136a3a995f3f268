"""TaskFlow decorators for the steps that take your own code, such as `@task.mlops_train`.

They can also be imported: `from airflow_provider_mlops.decorators import train_task`. Then editors and type checkers
see their arguments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_mlops.lazy import lazy_names

if TYPE_CHECKING:
    from airflow_provider_mlops.decorators.steps import (
        extract_task,
        prepare_task,
        train_task,
        tune_task,
        validate_data_task,
    )

__all__ = ["extract_task", "prepare_task", "train_task", "tune_task", "validate_data_task"]

if not TYPE_CHECKING:  # A type checker would accept every name from a package that has __getattr__.
    __getattr__ = lazy_names(__name__, dict.fromkeys(__all__, "steps"))
