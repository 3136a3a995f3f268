"""The fields and the result of the train step."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, JsonValue, model_validator

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.errors import FieldError
from airflow_provider_mlops.lifecycle.prepare.preprocessing import Preprocessing
from airflow_provider_mlops.lifecycle.step import Result, Spec
from airflow_provider_mlops.lifecycle.user_code import UserCode
from airflow_provider_mlops.registry.model_version import ModelVersion


class TrainSpec(Spec):
    """The training data, the estimator, and the name of the registered model."""

    dataset: Dataset = Field(description="Training rows. All columns except the target are features.")
    validation_dataset: Dataset | None = Field(
        default=None,
        description="Rows for measuring the model. By default, the model is measured on the training rows, and the "
        "names of the metrics begin with `train_`.",
    )
    target: str = Field(description="Column to predict.")
    problem: Literal["classification", "regression"] | None = Field(
        default=None,
        description="Problem type, `classification` or `regression`. By default, the type of the estimator "
        "decides. If the estimator does not declare one, the target decides: strings, booleans and up to 20 "
        "distinct whole numbers are classes.",
    )
    estimator: str | None = Field(
        default=None,
        description="Import path of an estimator with scikit-learn's interface, for example "
        "`sklearn.ensemble.RandomForestClassifier`. Set either this field or `code`.",
    )
    parameters: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="Parameters of the estimator by name. `random_state` is set to `seed` unless you set it here.",
    )
    code: UserCode | None = Field(
        default=None,
        description="Your own function that returns an estimator, unfitted or fitted. It can take any of the arguments "
        "`features` (a pandas DataFrame), `target` (a NumPy array), `parameters`, `seed` and `problem`. Set either "
        "this field or `estimator`.",
    )
    preprocessing: Preprocessing | None = Field(
        default=None,
        description="Imputing, encoding and scaling of the features, as returned by the prepare step. It is fitted "
        "inside the model, so serving applies exactly the same preprocessing.",
    )
    model_name: str = Field(description="Name of the registered model. The step adds a new version to it.")
    experiment: str | None = Field(default=None, description="MLflow experiment of the run. Defaults to the DAG's ID.")
    seed: int = Field(
        default=0, ge=0, lt=2**32, description="Random seed of the training, between 0 and 2³² - 1. Defaults to 0."
    )
    trusted_types: tuple[str, ...] = Field(
        default=(),
        description="Dotted names of additional types that may be created when the model is loaded. Models are saved "
        "with skops, which loads only the types of scikit-learn and NumPy by default. If a type is missing here, the "
        "step fails with an error that names it.",
    )
    pip_requirements: tuple[str, ...] | None = Field(
        default=None,
        description="Packages that the model needs where it is served, as pip requirements. Defaults to the installed "
        "versions of scikit-learn and of the packages that the model consists of.",
    )
    profile_uri: str | None = Field(
        default=None,
        description="Profile of the training data, as returned by the analyze step. It is saved as the tag "
        "`mlops.profile_uri` of the version, where the monitor step finds it.",
    )
    version_tags: dict[str, str] = Field(
        default_factory=dict,
        description="Additional tags of the model version. Names that begin with `mlops.` are reserved.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.estimator is None and self.code is None:
            raise FieldError("estimator", "set either estimator (an import path) or code (your own function)")
        if self.estimator is not None and self.code is not None:
            raise FieldError("estimator", "estimator and code cannot be used together. Remove one of them")
        for name in self.version_tags:
            if name.startswith("mlops."):
                raise FieldError("version_tags", f"names that begin with mlops. are reserved. Rename the tag {name!r}")
        return self


class TrainResult(Result):
    """The registered version and its metrics."""

    model: ModelVersion = Field(description="Registered version: name, number and run.")
    model_uri: str = Field(description="MLflow URI of the version, `models:/name/version`.")
    metrics: dict[str, float] = Field(
        description="Metrics on the validation rows. Without validation rows, metrics on the training rows, with names "
        "that begin with `train_`."
    )
    mlflow_run_id: str = Field(description="ID of the MLflow run of the training.")
