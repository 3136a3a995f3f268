"""A chain whose extract, train and deploy are killed with SIGKILL in the middle of their first try."""

from __future__ import annotations

import os
import signal
import threading
import time
from datetime import timedelta
from pathlib import Path

from airflow.providers.common.compat.sdk import conf
from airflow.sdk import DAG, get_current_context

from airflow_provider_mlops.operators.deploy import DeployModelOperator
from airflow_provider_mlops.operators.evaluate import EvaluateModelOperator
from airflow_provider_mlops.operators.extract import ExtractDataOperator
from airflow_provider_mlops.operators.prepare import PrepareDataOperator
from airflow_provider_mlops.operators.train import TrainModelOperator
from airflow_provider_mlops.operators.validate import ValidateModelOperator

MODEL = "killed"


def die_on_first_try() -> None:
    if get_current_context()["ti"].try_number == 1:
        os.kill(os.getpid(), signal.SIGKILL)


def batches():
    from sklearn.datasets import load_breast_cancer

    frame = load_breast_cancer(as_frame=True).frame
    yield frame.iloc[:300]
    die_on_first_try()
    yield frame.iloc[300:]


def train(parameters):
    from sklearn.linear_model import LogisticRegression

    die_on_first_try()
    return LogisticRegression(**parameters)


def die_after_the_audit_entry(context) -> None:
    """Deploy is past its point of no return when the audit trail has its entry: die right there, once."""
    if context["ti"].try_number > 1:
        return
    audit = Path(conf.get("mlops", "storage_uri")) / "audit" / MODEL

    def watch() -> None:
        while not list(audit.glob("*.json")):
            time.sleep(0.0005)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


with DAG("killed", schedule=None, default_args={"retries": 2, "retry_delay": timedelta(seconds=1)}):
    extract = ExtractDataOperator(
        task_id="extract", dataset_name="patients", source={"kind": "code", "function": batches}
    )
    prepare = PrepareDataOperator(task_id="prepare", dataset=extract.output["dataset"], target="target")
    trained = TrainModelOperator(
        task_id="train",
        dataset=prepare.output["train"],
        preprocessing=prepare.output["preprocessing"],
        target="target",
        model_name=MODEL,
        code=train,
        parameters={"max_iter": 500},
    )
    evaluate = EvaluateModelOperator(
        task_id="evaluate", model=trained.output["model"], dataset=prepare.output["test"], target="target"
    )
    validate = ValidateModelOperator(
        task_id="validate",
        model=evaluate.output["model"],
        evaluation_uri=evaluate.output["evaluation_uri"],
        gates=[{"kind": "limit", "metric": "accuracy", "min_value": 0.8}],
    )
    DeployModelOperator(
        task_id="deploy",
        model=validate.output["model"],
        expected_champion=validate.output["champion_version"],
        pre_execute=die_after_the_audit_entry,
    )
