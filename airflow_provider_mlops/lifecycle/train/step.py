"""Step 4, training: from a dataset to one registered model version.

The preprocessing is fitted inside the model's scikit-learn Pipeline, the model is saved with skops,
and labels stay what the data calls them: a model trained on the strings `yes` and `no` predicts
these, and `predict_proba` has its columns in the order of `classes_`.
"""

from __future__ import annotations

from airflow_provider_mlops.lifecycle.step import Step
from airflow_provider_mlops.lifecycle.train.spec import TrainResult, TrainSpec
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.registry.run import open_run


def train(spec: TrainSpec, workspace: Workspace) -> TrainResult:
    """Fit preprocessing and estimator as one Pipeline and register it as one version, however often it is tried.

    Raises InvalidSpecError for a wrong field, RejectedError for data or a model that cannot be used (targets without a
    value, a single class, predictions that are not finite), BackendUnavailableError if MLflow does not answer.
    """
    from airflow_provider_mlops.lifecycle.train import fit
    from airflow_provider_mlops.lifecycle.train.record import train_and_register
    from airflow_provider_mlops.registry.models import check_name

    check_name(spec.model_name)
    problem = fit.problem_of(spec, spec.dataset)
    rows = fit.read(spec.dataset, spec.target, problem)
    with open_run(workspace.registry(), workspace.task, "train", experiment=spec.experiment) as run:
        version, metrics = train_and_register(run, spec, workspace, rows, problem, spec.parameters)
        return TrainResult(model=version, model_uri=version.uri, metrics=metrics, mlflow_run_id=run.id)


STEP = Step("train", TrainSpec, TrainResult, train, extras=("train",))
