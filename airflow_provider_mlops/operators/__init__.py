"""The steps of the lifecycle as Airflow operators, one per module."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_mlops.lazy import lazy_names

if TYPE_CHECKING:
    from airflow_provider_mlops.operators.analyze import AnalyzeDataOperator
    from airflow_provider_mlops.operators.deploy import DeployModelOperator
    from airflow_provider_mlops.operators.evaluate import EvaluateModelOperator
    from airflow_provider_mlops.operators.extract import ExtractDataOperator
    from airflow_provider_mlops.operators.monitor import MonitorModelOperator
    from airflow_provider_mlops.operators.prepare import PrepareDataOperator
    from airflow_provider_mlops.operators.rollback import RollbackModelOperator
    from airflow_provider_mlops.operators.rollout import RolloutOperator
    from airflow_provider_mlops.operators.step import StepOperator
    from airflow_provider_mlops.operators.train import TrainModelOperator
    from airflow_provider_mlops.operators.tune import TuneModelOperator
    from airflow_provider_mlops.operators.validate import ValidateModelOperator
    from airflow_provider_mlops.operators.validate_data import ValidateDataOperator

__all__ = [
    "AnalyzeDataOperator",
    "DeployModelOperator",
    "EvaluateModelOperator",
    "ExtractDataOperator",
    "MonitorModelOperator",
    "PrepareDataOperator",
    "RollbackModelOperator",
    "RolloutOperator",
    "StepOperator",
    "TrainModelOperator",
    "TuneModelOperator",
    "ValidateDataOperator",
    "ValidateModelOperator",
]

if not TYPE_CHECKING:  # A type checker would accept every name from a package that has __getattr__.
    __getattr__ = lazy_names(
        __name__,
        {
            "AnalyzeDataOperator": "analyze",
            "DeployModelOperator": "deploy",
            "EvaluateModelOperator": "evaluate",
            "ExtractDataOperator": "extract",
            "MonitorModelOperator": "monitor",
            "PrepareDataOperator": "prepare",
            "RollbackModelOperator": "rollback",
            "RolloutOperator": "rollout",
            "StepOperator": "step",
            "TrainModelOperator": "train",
            "TuneModelOperator": "tune",
            "ValidateDataOperator": "validate_data",
            "ValidateModelOperator": "validate",
        },
    )
