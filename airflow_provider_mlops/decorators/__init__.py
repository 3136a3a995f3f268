"""TaskFlow decorators for the steps that take your own code, such as `@task.mlops_train`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_mlops.lazy import lazy_names

if TYPE_CHECKING:
    from airflow_provider_mlops.decorators.extract import extract_task
    from airflow_provider_mlops.decorators.prepare import prepare_task
    from airflow_provider_mlops.decorators.train import train_task
    from airflow_provider_mlops.decorators.tune import tune_task
    from airflow_provider_mlops.decorators.validate_data import validate_data_task

__all__ = [
    "extract_task",
    "prepare_task",
    "train_task",
    "tune_task",
    "validate_data_task",
]

if not TYPE_CHECKING:  # A type checker would accept every name from a package that has __getattr__.
    __getattr__ = lazy_names(
        __name__,
        {
            "extract_task": "extract",
            "prepare_task": "prepare",
            "train_task": "train",
            "tune_task": "tune",
            "validate_data_task": "validate_data",
        },
    )
