"""The whole chain in one DAG: real MLflow, Great Expectations and gateway, on data that ships with scikit-learn."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Asset, task

from airflow_provider_mlops.hooks.gateway import MlopsGatewayHook
from airflow_provider_mlops.operators.analyze import AnalyzeDataOperator
from airflow_provider_mlops.operators.deploy import DeployModelOperator
from airflow_provider_mlops.operators.evaluate import EvaluateModelOperator
from airflow_provider_mlops.operators.extract import ExtractDataOperator
from airflow_provider_mlops.operators.monitor import MonitorModelOperator
from airflow_provider_mlops.operators.prepare import PrepareDataOperator
from airflow_provider_mlops.operators.rollback import RollbackModelOperator
from airflow_provider_mlops.operators.train import TrainModelOperator
from airflow_provider_mlops.operators.validate import ValidateModelOperator
from airflow_provider_mlops.operators.validate_data import ValidateDataOperator

OPTIONS: dict[str, Any] = {"start_date": datetime(2026, 1, 1, tzinfo=UTC), "default_args": {"target": "target"}}


def chain() -> DAG:
    with DAG(dag_id="chain", schedule=None, params={"target": "target", "minimum": 0.8}, **OPTIONS) as dag:
        extract = ExtractDataOperator(task_id="extract", dataset_name="tumours", source={"kind": "sklearn"})
        analyze = AnalyzeDataOperator(task_id="analyze", dataset=extract.output["dataset"])
        check = ValidateDataOperator(
            task_id="validate_data",
            dataset=analyze.output["dataset"],
            reference_profile_uri=analyze.output["profile_uri"],
        )
        prepare = PrepareDataOperator(
            task_id="prepare",
            dataset=check.output["dataset"],
            target="{{ params.target }}",
            split={"method": "stratified"},
        )

        @task.mlops_train(model_name="tumours", profile_uri=analyze.output["profile_uri"])
        def logistic(seed: int):
            """A linear model."""
            from sklearn.linear_model import LogisticRegression

            return LogisticRegression(max_iter=500, random_state=seed)

        trained = logistic(dataset=prepare.output["train"], preprocessing=prepare.output["preprocessing"], seed=3)
        evaluate = EvaluateModelOperator(
            task_id="evaluate", model=trained["model"], dataset=prepare.output["test"], resamples=100
        )
        validate = ValidateModelOperator(
            task_id="validate",
            model=evaluate.output["model"],
            evaluation_uri=evaluate.output["evaluation_uri"],
            gates=[{"kind": "limit", "metric": "accuracy", "min_value": "{{ params.minimum }}"}, {"kind": "signature"}],
        )
        deploy = DeployModelOperator(task_id="deploy", model=validate.output["model"], reason="the chain")

        @task
        def ask(dataset: dict[str, Any]) -> int:
            from airflow_provider_mlops.data.dataset import Dataset

            rows = Dataset.model_validate(dataset).arrow().drop_columns(["target"]).to_pylist()
            with MlopsGatewayHook().client() as client:
                return len(client.infer("tumours", rows).output)

        monitor = MonitorModelOperator(task_id="monitor", model_name="tumours", window=timedelta(hours=1))
        asked = ask(prepare.output["test"])
        deploy >> asked >> monitor
    return dag


def test_data_becomes_a_monitored_model(run_dag, gateway, storage):
    ran = run_dag(chain())
    assert set(ran.states().values()) == {"success"}, ran.states()

    for task_id in ran.states():
        assert sum(len(json.dumps(value)) for value in ran.xcoms(task_id).values()) <= 16 * 1024
    version = ran.xcoms("logistic")["model"]
    assert (version["name"], version["version"]) == ("tumours", 1)
    assert ran.xcoms("validate")["verdict"] == "approved"
    assert ran.xcoms("deploy")["deployment"]["version"] == 1
    assert ran.xcoms("monitor")["verdict"] in ("ok", "inconclusive", "alarm")
    # The deployment asks the endpoint too, to see that it answers.
    assert ran.xcoms("monitor")["rows"] >= ran.xcoms("ask")["return_value"] > 100

    for task_id, link in {
        "analyze": "_link_ReportLink",
        "validate_data": "_link_DataDocsLink",
        "evaluate": "_link_ReportLink",
        "validate": "_link_ReportLink",
        "monitor": "_link_ReportLink",
    }.items():
        address = ran.xcoms(task_id)[link]
        assert address.startswith("/mlops/files/chain/"), (task_id, ran.xcoms(task_id))
        assert (storage / address.removeprefix("/mlops/files/chain/")).is_file(), address

    events = ran.asset_events()
    assert next(uri for uri, _ in events if uri.startswith("mlops://datasets/")) == "mlops://datasets/tumours"
    made = dict(events)
    assert made["mlops://datasets/tumours"]["fingerprint"] == ran.xcoms("extract")["fingerprint"]
    assert made["mlops://models/tumours"]["version"] == 1
    assert made["mlops://models/tumours"]["mlflow_run_id"] == version["run_id"]
    for name, value in ran.xcoms("logistic")["metrics"].items():
        assert made["mlops://models/tumours"][f"metrics.{name}"] == value
    assert made["mlops://models/tumours"]["data_fingerprint"] == ran.xcoms("prepare")["train"]["fingerprint"]
    assert made["mlops://models/tumours/aliases/challenger"]["to"] == 1
    champion = made["mlops://models/tumours/aliases/champion"]
    assert (champion["from"], champion["to"], champion["reason"]) == (None, 1, "the chain")
    assert champion["task_id"] == "deploy"


def test_a_model_that_is_not_good_enough_skips_what_comes_next(run_dag, storage, mlflow_database):
    shutil.copy(mlflow_database, storage / "mlflow.db")
    with DAG(dag_id="rejected", schedule=None, **OPTIONS) as dag:
        extract = ExtractDataOperator(
            task_id="extract", dataset_name="flowers", source={"kind": "sklearn", "name": "iris"}
        )
        prepare = PrepareDataOperator(task_id="prepare", dataset=extract.output["dataset"])
        train = TrainModelOperator(
            task_id="train",
            dataset=prepare.output["train"],
            estimator="sklearn.dummy.DummyClassifier",
            model_name="flowers",
        )
        evaluate = EvaluateModelOperator(
            task_id="evaluate", model=train.output["model"], dataset=prepare.output["test"], resamples=100
        )
        gates = [{"kind": "limit", "metric": "accuracy", "min_value": 0.9}]
        wiring = {
            "model": evaluate.output["model"],
            "evaluation_uri": evaluate.output["evaluation_uri"],
            "gates": gates,
        }
        skipping = ValidateModelOperator(task_id="skipping", on_reject="skip", **wiring)
        ValidateModelOperator(task_id="failing", retries=2, retry_delay=timedelta(0), **wiring)

        @task
        def after_skip() -> None: ...

        @task(trigger_rule="all_done")
        def anyway() -> None: ...

        skipping >> after_skip()
        skipping >> anyway()
    ran = run_dag(dag)
    states = ran.states()
    assert (states["skipping"], states["after_skip"], states["anyway"]) == ("skipped", "skipped", "success")
    assert (states["failing"], ran.task("failing").try_number) == ("failed", 1)
    xcoms = ran.xcoms("skipping")
    assert xcoms["verdict"] == "rejected"
    assert xcoms["return_value"]["model"]["name"] == "flowers"
    assert xcoms["_link_ReportLink"].endswith(".html")
    assert ran.xcoms("failing")["_link_ReportLink"].endswith(".html")
    assert not [uri for uri, _ in ran.asset_events() if "aliases" in uri]


def test_a_rollback_moves_the_champion_back(run_dag, gateway, storage):
    from airflow_provider_mlops.data.task_identity import TaskIdentity
    from airflow_provider_mlops.lifecycle.workspace import Workspace
    from tests.helpers.serving.live_model import train

    workspace = Workspace(storage_uri=str(storage), task=TaskIdentity(dag_id="churn", run_id="r", task_id="train"))
    models = [train(workspace, run_id=f"r{number}").model_dump() for number in (1, 2)]
    with DAG(dag_id="rolled_back", schedule=None, **OPTIONS) as dag:
        first = DeployModelOperator(task_id="first", model=models[0])
        second = DeployModelOperator(task_id="second", model=models[1])
        back = RollbackModelOperator(task_id="back", model_name="churn", reason="complaints")
        first >> second >> back
    with DAG(dag_id="on_champion", schedule=Asset("mlops://models/churn/aliases/champion")) as consumer:
        pass
    ran = run_dag(dag, consumer)
    assert set(ran.states().values()) == {"success"}
    moves = [(extra["from"], extra["to"]) for uri, extra in ran.asset_events() if uri.endswith("/champion")]
    assert moves == [(None, 1), (1, 2), (2, 1)]
    with gateway.client() as client:
        assert client.model("churn")["active"] == 1
