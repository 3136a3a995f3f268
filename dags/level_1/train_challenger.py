"""
### Train a challenger: a better version, not deployed yet

Trains another estimator on the same rows as `level_1_train_and_deploy`, compares it with the champion on the same test
rows, and gives it the alias `challenger` if it passes the gates. Callers do not notice. Release it with one of the
DAGs in `dags/rollouts`, such as `rollout_canary`.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_provider_mlops.operators.analyze import AnalyzeDataOperator
from airflow_provider_mlops.operators.evaluate import EvaluateModelOperator
from airflow_provider_mlops.operators.extract import ExtractDataOperator
from airflow_provider_mlops.operators.prepare import PrepareDataOperator
from airflow_provider_mlops.operators.train import TrainModelOperator
from airflow_provider_mlops.operators.validate import ValidateModelOperator

TARGET = "churned"

with DAG(
    dag_id="level_1_train_challenger",
    description="Train and validate a version that a rollout can release, without deploying it",
    schedule=None,
    params={
        "model_name": Param("churn", type="string", title="Model", description_md="A model with a champion."),
        "estimator": Param(
            "sklearn.ensemble.HistGradientBoostingClassifier",
            type="string",
            title="Estimator",
            description_md="The import path of a classifier.",
        ),
    },
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
    doc_md=__doc__,
    tags=["mlops", "level-1"],
    max_active_runs=1,
) as dag:
    extract = ExtractDataOperator(
        task_id="extract",
        dataset_name="customers",
        source={"kind": "code", "function": "airflow_provider_mlops.data.samples.customers:customers_for_training"},
        doc_md="Stores the sample of customers that ships with the package as a **dataset**.",
    )
    analyze = AnalyzeDataOperator(
        task_id="analyze",
        dataset=extract.output["dataset"],
        target=TARGET,
        doc_md="Computes the **profile** that monitoring compares with once this version is champion.",
    )
    prepare = PrepareDataOperator(
        task_id="prepare",
        dataset=extract.output["dataset"],
        target=TARGET,
        split={"method": "stratified", "validation": 0.2, "test": 0.25},
        doc_md="Splits the rows exactly like the champion's: same rows, same split, same seed.",
    )
    train = TrainModelOperator(
        task_id="train",
        dataset=prepare.output["train"],
        validation_dataset=prepare.output["validation"],
        preprocessing=prepare.output["preprocessing"],
        profile_uri=analyze.output["profile_uri"],
        target=TARGET,
        estimator="{{ params.estimator }}",
        model_name="{{ params.model_name }}",
        doc_md="Makes the next **version** of the registered model.",
    )
    evaluate = EvaluateModelOperator(
        task_id="evaluate",
        model=train.output["model"],
        dataset=prepare.output["test"],
        target=TARGET,
        doc_md="Computes the metrics of the version and of the **champion** on the same rows.",
    )
    ValidateModelOperator(
        task_id="validate",
        model=evaluate.output["model"],
        evaluation_uri=evaluate.output["evaluation_uri"],
        gates=[
            {"kind": "champion", "metric": "accuracy", "margin": 0.02},
            {"kind": "signature"},
            {"kind": "infrastructure"},
        ],
        doc_md="Applies the gates. An approved version gets the alias **challenger**.",
    )
