"""The step `validate_data` as an operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_mlops.lifecycle.validate_data.spec import ValidateDataResult, ValidateDataSpec
from airflow_provider_mlops.lifecycle.validate_data.step import STEP
from airflow_provider_mlops.links.step import DataDocsLink, MlflowRunLink
from airflow_provider_mlops.operators.step import StepOperator

if TYPE_CHECKING:
    from typing import Unpack

    from airflow_provider_mlops.operators.arguments import ValidateDataArguments


class ValidateDataOperator(StepOperator[ValidateDataSpec, ValidateDataResult], step=STEP):
    """Check a dataset against expectations with Great Expectations. Schema skew fails the task."""

    ui_color = "#cfe5f5"
    operator_extra_links = (DataDocsLink(), MlflowRunLink())

    if TYPE_CHECKING:

        def __init__(self, **arguments: Unpack[ValidateDataArguments]) -> None: ...
