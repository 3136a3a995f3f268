"""Step 4, train: fit a model to a dataset and register it as one model version.

The preprocessing is fitted inside the model's scikit-learn Pipeline, and the model is saved with skops. Labels keep the
form that they have in the data: a model trained on the strings `yes` and `no` predicts these strings, and the columns
of `predict_proba` are in the order of `classes_`.
"""

from __future__ import annotations

from airflow_provider_mlops.lifecycle.step import Step
from airflow_provider_mlops.lifecycle.train.spec import TrainResult, TrainSpec
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.registry.run import open_run


def train(spec: TrainSpec, workspace: Workspace) -> TrainResult:
    """Fit preprocessing and estimator as one Pipeline and register it as one version, however often it is retried.

    Raises
    ------
    InvalidSpecError
        If a field is invalid.
    RejectedError
        If the data or the model cannot be used: missing targets, a single class, predictions that are not finite.
    BackendUnavailableError
        If MLflow does not answer.
    """
    from airflow_provider_mlops.lifecycle.train.fitting import resolve_problem
    from airflow_provider_mlops.lifecycle.train.record import train_and_register
    from airflow_provider_mlops.lifecycle.train.rows import read_rows
    from airflow_provider_mlops.registry.models import check_name

    check_name(spec.model_name)
    problem = resolve_problem(spec, spec.dataset)
    rows = read_rows(spec.dataset, spec.target, problem)
    with open_run(workspace.registry(), workspace.task, "train", experiment=spec.experiment) as run:
        version, metrics = train_and_register(run, spec, workspace, rows, problem, spec.parameters)
        return TrainResult(model=version, model_uri=version.uri, metrics=metrics, mlflow_run_id=run.id)


STEP = Step("train", TrainSpec, TrainResult, train, extras=("train",))
