"""The step `evaluate` as an operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_mlops.lifecycle.evaluate.spec import EvaluateResult, EvaluateSpec
from airflow_provider_mlops.lifecycle.evaluate.step import STEP
from airflow_provider_mlops.links.step import MlflowRunLink, ModelVersionLink, ReportLink
from airflow_provider_mlops.operators.step import StepOperator

if TYPE_CHECKING:
    from typing import Unpack

    from airflow_provider_mlops.operators.arguments import EvaluateArguments


class EvaluateModelOperator(StepOperator[EvaluateSpec, EvaluateResult], step=STEP):
    """Evaluate a model version on test rows.

    Computes metrics with confidence intervals, overall and by slice, and compares them with a baseline and the
    champion.
    """

    ui_color = "#fbe9c6"
    operator_extra_links = (ReportLink(), ModelVersionLink(), MlflowRunLink())

    if TYPE_CHECKING:

        def __init__(self, **arguments: Unpack[EvaluateArguments]) -> None: ...
