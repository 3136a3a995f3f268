"""What a type checker accepts of the operators, sensors and decorators. Read by `test_typing.py`, never run.

A line that ends in `# error` must be refused; every other line must be accepted.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, task

from airflow_provider_mlops.decorators import train_task
from airflow_provider_mlops.lifecycle.prepare.split import Split
from airflow_provider_mlops.operators import (
    DeployModelOperator,
    ExtractDataOperator,
    MonitorModelOperator,
    PrepareDataOperator,
    RolloutOperator,
    TrainModelOperator,
    TuneModelOperator,
    ValidateModelOperator,
)
from airflow_provider_mlops.runtimes.python import PythonRuntime
from airflow_provider_mlops.sensors import EnoughFeedbackSensor, ModelVersionSensor, NewDataSensor
from airflow_provider_mlops.triggers import EndpointReadyTrigger


def add_ratio(rows: object) -> object:
    return rows


@task
def choose_seed() -> int:
    return 7


with DAG("typed", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
    extract = ExtractDataOperator(
        task_id="extract", dataset_name="cancer", source={"kind": "sklearn", "name": "breast_cancer"}, retries=2
    )
    prepare = PrepareDataOperator(
        task_id="prepare",
        dataset=extract.output["dataset"],
        target="{{ params.target }}",
        split=Split(),
        seed=choose_seed(),
        features=add_ratio,
        filters=["age > {{ params.age }}"],
        runtime=PythonRuntime("/opt/training/bin/python"),
    )
    train = TrainModelOperator(
        task_id="train",
        dataset=prepare.output["train"],
        validation_dataset=prepare.output["validation"],
        target="target",
        estimator="sklearn.linear_model.LogisticRegression",
        parameters={"C": 0.5, "max_iter": "{{ params.max_iter }}"},
        seed="{{ params.seed }}",
        model_name="cancer",
        execution_timeout=timedelta(hours=1),
    )
    TuneModelOperator(
        task_id="tune",
        dataset=prepare.output["train"],
        target="target",
        estimator="sklearn.linear_model.LogisticRegression",
        model_name="cancer",
        search_space={"C": {"kind": "float", "low": 0.1, "high": 10.0}},
        mlflow_conn_id="mlflow_team",
    )
    ValidateModelOperator(
        task_id="validate", model=train.output["model"], evaluation_uri="{{ ti.xcom_pull('e') }}", on_reject="skip"
    )
    DeployModelOperator(task_id="deploy", model=train.output["model"], gateway_conn_id="gateway_team")
    RolloutOperator(
        task_id="rollout",
        model=train.output["model"],
        bake_time=timedelta(hours=2),
        check_interval=60,
        deferrable=False,
    )
    MonitorModelOperator(task_id="monitor", model_name="cancer", until="{{ data_interval_end }}", doc_md="Drift")
    NewDataSensor(task_id="new", paths=["s3://raw/*.csv"], newer_than=datetime(2026, 1, 1, tzinfo=UTC), timeout=3600)
    ModelVersionSensor(task_id="version", model_name=train.output["name"], deferrable=True, mode="reschedule")
    EnoughFeedbackSensor(task_id="labels", model_name="cancer", min_labels="{{ params.labels }}", poke_interval=30)

    @train_task(model_name="cancer", target="target")
    def fit(seed: int) -> object:
        return seed

    fitted = fit(dataset=prepare.output["train"], seed=3)
    fit.override(task_id="again")(dataset=fitted["dataset"], target="target")

    TrainModelOperator(task_id="t", dataset="d", target="t", model_nam="cancer")  # error
    TrainModelOperator(task_id="t", dataset="d", target="t", model_name="cancer", seeds=1)  # error
    TrainModelOperator(task_id="t", target="t", model_name="cancer")  # error
    TrainModelOperator(dataset="d", target="t", model_name="cancer")  # error
    TrainModelOperator(task_id="t", dataset="d", target="t", model_name="cancer", retires=2)  # error
    TrainModelOperator(task_id="t", dataset="d", target="t", model_name="cancer", retries="two")  # error
    TrainModelOperator(task_id="t", dataset=3, target="t", model_name="cancer")  # error
    TrainModelOperator(task_id="t", dataset="d", target="t", model_name="cancer", runtime="docker")  # error
    PrepareDataOperator(task_id="p", dataset="d", target="t", split=0.2)  # error
    RolloutOperator(task_id="r", model="m", check_interval=None)  # error
    EnoughFeedbackSensor(task_id="f", model_name="cancer", minimum_labels=5)  # error
    NewDataSensor(task_id="n", paths="x", mode="wait")  # error
    fit(datasets=prepare.output["train"])  # error
    train_task(modelname="cancer")  # error

    prepare.output.train  # error
    from airflow_provider_mlops.operators import TrainModelOperater  # error  # noqa: F401

event = EndpointReadyTrigger(model_name="cancer").check()
if event is not None:
    url: str = event["url"]
    event["latency"]  # error
