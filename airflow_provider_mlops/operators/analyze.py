"""The step `analyze` as an operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_mlops.lifecycle.analyze.spec import AnalyzeResult, AnalyzeSpec
from airflow_provider_mlops.lifecycle.analyze.step import STEP
from airflow_provider_mlops.operators.step import StepOperator

if TYPE_CHECKING:
    from typing import Unpack

    from airflow_provider_mlops.operators.arguments import AnalyzeArguments


class AnalyzeDataOperator(StepOperator[AnalyzeSpec, AnalyzeResult], step=STEP):
    """Profile a dataset: write statistics of every column as a Profile, which monitoring uses later, and a report."""

    ui_color = "#d7ecd9"

    if TYPE_CHECKING:

        def __init__(self, **arguments: Unpack[AnalyzeArguments]) -> None: ...
