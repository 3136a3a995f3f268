"""The decorators `@task.mlops_extract`, `@task.mlops_prepare`, `@task.mlops_train` and so on.

Airflow imports a decorator by its name in this module when a DAG first uses it. An operator is imported with its
decorator, not earlier.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from airflow_provider_mlops.decorators.step import StepDecorator, declare

if TYPE_CHECKING:
    from typing import Unpack

    from airflow_provider_mlops.operators.arguments import (
        ExtractTaskArguments,
        PrepareTaskArguments,
        TrainTaskArguments,
        TuneTaskArguments,
        ValidateDataTaskArguments,
    )

ARGUMENTS = {
    "extract": ("ExtractDataOperator", "source"),
    "prepare": ("PrepareDataOperator", "features"),
    "train": ("TrainModelOperator", "code"),
    "tune": ("TuneModelOperator", "code"),
    "validate_data": ("ValidateDataOperator", "suite_code"),
}
"""The operator of each step that has a decorator, and the argument that the decorated function becomes."""

if TYPE_CHECKING:
    # Editors and type checkers read the arguments of the decorators here. Airflow calls __getattr__.

    @declare
    def extract_task(**arguments: Unpack[ExtractTaskArguments]) -> None:
        """Make a function the source of the rows."""

    @declare
    def prepare_task(**arguments: Unpack[PrepareTaskArguments]) -> None:
        """Make a function the features of the data."""

    @declare
    def train_task(**arguments: Unpack[TrainTaskArguments]) -> None:
        """Make a function return the estimator to train."""

    @declare
    def tune_task(**arguments: Unpack[TuneTaskArguments]) -> None:
        """Make a function return the estimator for the parameters of a trial."""

    @declare
    def validate_data_task(**arguments: Unpack[ValidateDataTaskArguments]) -> None:
        """Make a function return the expectations."""

else:

    def __getattr__(name: str) -> StepDecorator:
        step = name.removesuffix("_task")
        if step == name or step not in ARGUMENTS:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        operator, argument = ARGUMENTS[step]
        module = importlib.import_module(f"airflow_provider_mlops.operators.{step}")
        decorator = StepDecorator(getattr(module, operator), argument)
        globals()[name] = decorator
        return decorator
