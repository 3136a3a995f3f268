"""The step `evaluate` as an operator."""

from __future__ import annotations

from airflow_provider_mlops.lifecycle.evaluate.step import STEP
from airflow_provider_mlops.links.step import MlflowRunLink, ModelVersionLink, ReportLink
from airflow_provider_mlops.operators.step import StepOperator


class EvaluateModelOperator(StepOperator, step=STEP):
    """Evaluate a model version on test rows: metrics with intervals, by slice, beside a baseline and the champion."""

    ui_color = "#fbe9c6"
    operator_extra_links = (ReportLink(), ModelVersionLink(), MlflowRunLink())
