"""The step `validate_data` as an operator."""

from __future__ import annotations

from airflow_provider_mlops.lifecycle.validate_data.step import STEP
from airflow_provider_mlops.links.step import DataDocsLink, MlflowRunLink
from airflow_provider_mlops.operators.step import StepOperator


class ValidateDataOperator(StepOperator, step=STEP):
    """Hold a dataset against expectations with Great Expectations. Schema skew stops the run."""

    ui_color = "#cfe5f5"
    operator_extra_links = (DataDocsLink(), MlflowRunLink())
