"""The step `analyze` as an operator."""

from __future__ import annotations

from airflow_provider_mlops.lifecycle.analyze.step import STEP
from airflow_provider_mlops.operators.step import StepOperator


class AnalyzeDataOperator(StepOperator, step=STEP):
    """Profile a dataset: every column's statistics, as a Profile that monitoring later compares with, and a report."""

    ui_color = "#d7ecd9"
