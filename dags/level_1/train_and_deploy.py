"""
### Level 1: from data to a monitored model, in one DAG

The eight steps of the machine-learning lifecycle in their order. Trigger it with the form: every
field has a default, and the defaults train a classifier of breast tumours on the 569 patients that
scikit-learn ships.

| step | what happens |
|---|---|
| extract | the rows become a dataset: Parquet, a manifest, a fingerprint |
| analyze | a profile of every column, which monitoring later compares with |
| validate_data | Great Expectations holds the rows against what the profile says they look like |
| prepare | train, validation and test rows; preprocessing that training fits into the model |
| train | one MLflow run, one registered model version |
| evaluate | metrics with intervals, beside a trivial baseline and the champion |
| validate | the gates: does this version deserve to answer users? |
| deploy | the gateway answers with it; the alias `champion` moves |
| replay | the test rows as requests, with their labels, in place of the traffic that a real system has |
| monitor | drift, data quality and performance of what was answered |

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

# The form that "Trigger" shows. Each value reaches the steps below as `{{ params.NAME }}`.
PARAMS = {
    "source": Param(
        "breast_cancer",
        type="string",
        enum=["breast_cancer", "wine", "iris", "digits"],
        title="Source",
        description_md="A dataset that ships with scikit-learn. For your own data, change the `source` of `extract`.",
    ),
    "target": Param(
        "target",
        type="string",
        minLength=1,
        title="Target",
        description_md="The column that the model predicts. In the datasets above it is `target`.",
    ),
    "model_name": Param(
        "level_1",
        type="string",
        minLength=1,
        title="Model",
        description_md="The registered model's name. Give each source a model of its own: a version that takes other "
        "columns than the champion is rejected.",
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
        description_md='What the estimator is created with, such as `{"n_estimators": 300}`. Empty means its defaults.',
        section="Training",
    ),
    "seed": Param(
        0,
        type="integer",
        minimum=0,
        title="Seed",
        description_md="Of the split, the training and the intervals. The same seed gives the same model.",
        section="Training",
    ),
    "min_accuracy": Param(
        0.85,
        type="number",
        minimum=0,
        maximum=1,
        title="Minimum accuracy",
        description_md="A version below this share of right answers on the test rows is rejected.",
        section="Gates",
    ),
    "margin": Param(
        0.05,
        type="number",
        minimum=0,
        maximum=1,
        title="Margin",
        description_md="How much worse than the champion a version may be at most, shown on the same rows.",
        section="Gates",
    ),
}

with DAG(
    dag_id="level_1_train_and_deploy",
    schedule=None,
    params=PARAMS,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
    doc_md=__doc__,
    tags=["mlops", "level-1"],
    # Lets "{{ params.seed }}" stay a number and "{{ params.parameters }}" a dictionary.
    render_template_as_native_obj=True,
    # Two runs at once would deploy over each other; the second would be refused at `deploy`.
    max_active_runs=1,
) as dag:
    extract = ExtractDataOperator(
        task_id="extract",
        dataset_name="{{ params.source }}",
        source={"kind": "sklearn", "name": "{{ params.source }}"},
        min_rows=100,
        doc_md="Rows become a **dataset**: Parquet files, a manifest and a fingerprint of the content.",
    )

    analyze = AnalyzeDataOperator(
        task_id="analyze",
        dataset=extract.output["dataset"],
        target="{{ params.target }}",
        doc_md="The **profile** of every column, as JSON for `monitor` and as a report for you.",
    )

    # Compared with its own profile the first data can only pass. From then on, point
    # `reference_profile_uri` at the profile of the data that you trust.
    validate_data = ValidateDataOperator(
        task_id="validate_data",
        dataset=analyze.output["dataset"],
        reference_profile_uri=analyze.output["profile_uri"],
        on_value_skew="warn",
        doc_md="**Great Expectations** stops the run when columns or types are not what they were.",
    )

    prepare = PrepareDataOperator(
        task_id="prepare",
        dataset=validate_data.output["dataset"],
        target="{{ params.target }}",
        split={"method": "stratified", "validation": 0.2, "test": 0.25},
        seed="{{ params.seed }}",
        doc_md="The split, the same for the same data and seed, and the **unfitted** preprocessing.",
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
        doc_md="One MLflow run and one **registered version**, preprocessing included.",
    )

    evaluate = EvaluateModelOperator(
        task_id="evaluate",
        model=train.output["model"],
        dataset=prepare.output["test"],
        target="{{ params.target }}",
        problem="classification",
        seed="{{ params.seed }}",
        doc_md="Metrics with **intervals**, beside a trivial baseline and the champion on the same rows.",
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
        doc_md="The **gates**. An approved version gets the alias `challenger`.",
    )

    deploy = DeployModelOperator(
        task_id="deploy",
        model=validate.output["model"],
        expected_champion=validate.output["champion_version"],
        reason="Level 1 example, approved by its gates",
        doc_md="The gateway answers with the version; then the alias **champion** moves.",
    )

    @task
    def replay(model: dict, dataset: dict, target: str) -> int:
        """Send the test rows to the endpoint, and their labels after them."""
        from airflow_provider_mlops.data.dataset import Dataset
        from airflow_provider_mlops.hooks.gateway import MlopsGatewayHook
        from airflow_provider_mlops.serving.traffic.replay import Replay
        from airflow_provider_mlops.serving.traffic.traffic import Traffic

        rows, url = Dataset.model_validate(dataset), MlopsGatewayHook().settings().url
        return Replay(Traffic(rows, model["name"], url, rate=1000, target=target)).run().answered

    replayed = replay(deploy.output["model"], prepare.output["test"], "{{ params.target }}")

    monitor = MonitorModelOperator(
        task_id="monitor",
        model_name="{{ params.model_name }}",
        window=timedelta(hours=1),
        doc_md="**Drift**, data quality and performance, with alarms calibrated to the number of rows.",
    )
    replayed >> monitor
