"""
### Level 1: from data to a monitored model, in one DAG

The steps of the machine-learning lifecycle in their order. Trigger it with the form: every field has a default. The
defaults train a classifier that predicts which customers leave, on a synthetic sample that ships with the package.

| task | what it does |
|---|---|
| extract | stores the rows as a dataset: Parquet, a manifest, a fingerprint |
| analyze | profiles every column; monitoring later compares with the profile |
| validate_data | compares the rows with the profile, with Great Expectations |
| prepare | splits the rows for training, validation and test, and plans the preprocessing |
| train | makes one MLflow run and one registered model version |
| evaluate | computes metrics with intervals, for the model, a trivial baseline and the champion |
| validate | applies the gates: is this version good enough to answer users? |
| deploy | lets the gateway answer with the version, and moves the alias `champion` |
| replay | sends the test rows as requests, and their labels: a stand-in for real traffic |
| monitor | checks the predictions for drift, data quality and performance |

A version that fails a gate ends the run there: the champion stays.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param, task

from airflow_provider_mlops.operators.analyze import AnalyzeDataOperator
from airflow_provider_mlops.operators.deploy import DeployModelOperator
from airflow_provider_mlops.operators.evaluate import EvaluateModelOperator
from airflow_provider_mlops.operators.extract import ExtractDataOperator
from airflow_provider_mlops.operators.monitor import MonitorModelOperator
from airflow_provider_mlops.operators.prepare import PrepareDataOperator
from airflow_provider_mlops.operators.train import TrainModelOperator
from airflow_provider_mlops.operators.validate import ValidateModelOperator
from airflow_provider_mlops.operators.validate_data import ValidateDataOperator

# The fields of the form behind "Trigger". Each value reaches the steps below as `{{ params.NAME }}`.
PARAMS = {
    "source": Param(
        {"kind": "code", "function": "airflow_provider_mlops.data.samples.customers:customers_for_training"},
        type="object",
        title="Source",
        description_md='The source of the rows, such as `{"kind": "files", "paths": "/data/customers.csv"}` or '
        '`{"kind": "sklearn", "name": "breast_cancer"}`.',
    ),
    "target": Param(
        "churned",
        type="string",
        minLength=1,
        title="Target",
        description_md="The column that the model predicts.",
    ),
    "model_name": Param(
        "churn",
        type="string",
        minLength=1,
        title="Model",
        description_md="The name of the registered model. Use another name for another source: a version that takes "
        "other columns than the champion is rejected.",
    ),
    "estimator": Param(
        "sklearn.linear_model.LogisticRegression",
        type="string",
        pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$",
        examples=[
            "sklearn.linear_model.LogisticRegression",
            "sklearn.ensemble.RandomForestClassifier",
            "sklearn.ensemble.HistGradientBoostingClassifier",
        ],
        title="Estimator",
        description_md="The import path of a classifier, such as `sklearn.ensemble.RandomForestClassifier`.",
        section="Training",
    ),
    "parameters": Param(
        {},
        type="object",
        title="Parameters",
        description_md='The parameters of the estimator, such as `{"n_estimators": 300}`. If empty, the estimator '
        "uses its defaults.",
        section="Training",
    ),
    "seed": Param(
        0,
        type="integer",
        minimum=0,
        title="Seed",
        description_md="The random seed of the split, the training and the intervals.",
        section="Training",
    ),
    "min_accuracy": Param(
        0.7,
        type="number",
        minimum=0,
        maximum=1,
        title="Minimum accuracy",
        description_md="A version with a lower accuracy on the test rows is rejected.",
        section="Gates",
    ),
    "margin": Param(
        0.05,
        type="number",
        minimum=0,
        maximum=1,
        title="Margin",
        description_md="Maximum loss of accuracy compared with the champion, measured on the same rows.",
        section="Gates",
    ),
}

with DAG(
    dag_id="level_1_train_and_deploy",
    description="Train, evaluate, deploy and monitor a model, from data to predictions",
    schedule=None,
    params=PARAMS,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
    doc_md=__doc__,
    tags=["mlops", "level-1"],
    # Keeps "{{ params.seed }}" a number and "{{ params.parameters }}" a dictionary.
    render_template_as_native_obj=True,
    # Of two runs at once, the second would be refused at `deploy`.
    max_active_runs=1,
) as dag:
    extract = ExtractDataOperator(
        task_id="extract",
        dataset_name="level_1",
        source="{{ params.source }}",
        min_rows=100,
        doc_md="Stores the rows as a **dataset**: Parquet files, a manifest and a fingerprint of the content.",
    )

    analyze = AnalyzeDataOperator(
        task_id="analyze",
        dataset=extract.output["dataset"],
        target="{{ params.target }}",
        doc_md="Computes the **profile** of every column, as JSON for `monitor` and as a report for you.",
    )

    # Data that is compared with its own profile always passes. In your own DAG, set
    # `reference_profile_uri` to the profile of data that you trust.
    validate_data = ValidateDataOperator(
        task_id="validate_data",
        dataset=analyze.output["dataset"],
        reference_profile_uri=analyze.output["profile_uri"],
        on_value_skew="warn",
        doc_md="Stops the run if columns or types have changed, with **Great Expectations**.",
    )

    prepare = PrepareDataOperator(
        task_id="prepare",
        dataset=validate_data.output["dataset"],
        target="{{ params.target }}",
        split={"method": "stratified", "validation": 0.2, "test": 0.25},
        seed="{{ params.seed }}",
        doc_md="Splits the rows, always alike for the same data and seed, and plans the **preprocessing**.",
    )

    train = TrainModelOperator(
        task_id="train",
        dataset=prepare.output["train"],
        validation_dataset=prepare.output["validation"],
        preprocessing=prepare.output["preprocessing"],
        profile_uri=analyze.output["profile_uri"],
        target="{{ params.target }}",
        problem="classification",
        estimator="{{ params.estimator }}",
        parameters="{{ params.parameters }}",
        model_name="{{ params.model_name }}",
        seed="{{ params.seed }}",
        doc_md="Makes one MLflow run and one **registered version**, with the preprocessing inside.",
    )

    evaluate = EvaluateModelOperator(
        task_id="evaluate",
        model=train.output["model"],
        dataset=prepare.output["test"],
        target="{{ params.target }}",
        problem="classification",
        seed="{{ params.seed }}",
        doc_md="Computes metrics with **intervals**, and those of a trivial baseline and the champion.",
    )

    validate = ValidateModelOperator(
        task_id="validate",
        model=evaluate.output["model"],
        evaluation_uri=evaluate.output["evaluation_uri"],
        gates=[
            {"kind": "limit", "metric": "accuracy", "min_value": "{{ params.min_accuracy }}"},
            {"kind": "champion", "metric": "accuracy", "margin": "{{ params.margin }}"},
            {"kind": "signature"},
            {"kind": "infrastructure"},
        ],
        doc_md="Applies the **gates**. An approved version gets the alias `challenger`.",
    )

    deploy = DeployModelOperator(
        task_id="deploy",
        model=validate.output["model"],
        expected_champion=validate.output["champion_version"],
        reason="Level 1 example, approved by its gates",
        doc_md="Lets the gateway answer with the version; then moves the alias **champion**.",
    )

    @task
    def replay(model: dict, dataset: dict, target: str) -> int:
        """Send the test rows to the endpoint, and then their labels."""
        from airflow_provider_mlops.data.dataset import Dataset
        from airflow_provider_mlops.hooks.gateway import MlopsGatewayHook
        from airflow_provider_mlops.serving.traffic.replay import Replay
        from airflow_provider_mlops.serving.traffic.traffic import Traffic

        rows, gateway = Dataset.model_validate(dataset), MlopsGatewayHook().settings()
        traffic = Traffic(rows, model["name"], gateway.url, rate=1000, target=target)
        return Replay(traffic, key=gateway.key, tls=gateway.tls).run().answered

    replayed = replay(deploy.output["model"], prepare.output["test"], "{{ params.target }}")

    monitor = MonitorModelOperator(
        task_id="monitor",
        model_name="{{ params.model_name }}",
        window=timedelta(hours=1),
        doc_md="Checks for **drift**, data quality and performance; alarms take the number of rows into account.",
    )
    replayed >> monitor
