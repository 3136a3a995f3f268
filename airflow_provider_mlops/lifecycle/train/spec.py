"""The fields of the step `train` and what it returns."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, JsonValue, model_validator

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.prepare.preprocessing import Preprocessing
from airflow_provider_mlops.lifecycle.step import Result, Spec
from airflow_provider_mlops.lifecycle.user_code import UserCode
from airflow_provider_mlops.registry.model_version import ModelVersion


class TrainSpec(Spec):
    """What to train, on what, and under which name to register it."""

    dataset: Dataset = Field(description="The training rows: the target column and the features, which are all others.")
    validation_dataset: Dataset | None = Field(
        default=None,
        description="Rows to measure the model on. Without them it is measured on the training rows, and the metrics' "
        "names begin with `train_`.",
    )
    target: str = Field(description="The column to predict.")
    problem: Literal["classification", "regression"] | None = Field(
        default=None,
        description="What kind of prediction it is. By default what the estimator is for, or else what the target "
        "looks like: strings, booleans and at most 20 distinct whole numbers are classes.",
    )
    estimator: str | None = Field(
        default=None,
        description="The import path of an estimator with scikit-learn's interface, for example "
        "`sklearn.ensemble.RandomForestClassifier`. Give this or `code`.",
    )
    parameters: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="The estimator's parameters by name. `random_state` is set from `seed` unless it is among them.",
    )
    code: UserCode | None = Field(
        default=None,
        description="A function of your own that returns an estimator, unfitted or fitted. It may take, by name, "
        "`features` (a pandas DataFrame), `target` (a NumPy array), `parameters`, `seed` and `problem`. Give this or "
        "`estimator`.",
    )
    preprocessing: Preprocessing | None = Field(
        default=None,
        description="How features are imputed, encoded and scaled, as the step `prepare` returns it. It is fitted "
        "inside the model, so that the model that is served applies it in the same way.",
    )
    model_name: str = Field(description="The registered model of which this makes a new version.")
    experiment: str | None = Field(
        default=None, description="The MLflow experiment of the run. By default the name of the DAG."
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="Where all randomness of the training begins.")
    trusted_types: tuple[str, ...] = Field(
        default=(),
        description="Types in the model, beside scikit-learn's own, that may be constructed when it is loaded, as "
        "dotted names. Models are saved with skops, which refuses all others; the error names what is missing.",
    )
    pip_requirements: tuple[str, ...] | None = Field(
        default=None,
        description="What the model needs installed where it is served. By default the installed versions of "
        "scikit-learn and of the packages that the model is made of.",
    )
    profile_uri: str | None = Field(
        default=None,
        description="The profile of the training data, as the step `analyze` returns it. The step `monitor` finds it "
        "by the version's tag `mlops.profile_uri`.",
    )
    version_tags: dict[str, str] = Field(
        default_factory=dict, description="Further tags of the model version. Names that begin with `mlops.` are taken."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.estimator is None) == (self.code is None):
            raise InvalidSpecError(
                "estimator", self.estimator, "give either estimator, an import path, or code, a function of your own"
            )
        for name in self.version_tags:
            if name.startswith("mlops."):
                raise InvalidSpecError(
                    "version_tags", name, "names that begin with mlops. are taken: choose another one"
                )
        return self


class TrainResult(Result):
    """The registered version."""

    model: ModelVersion = Field(description="The registered version: its name, number and run.")
    model_uri: str = Field(description="The version as MLflow writes it, `models:/name/version`.")
    metrics: dict[str, float] = Field(
        description="How well it predicts the validation rows; without such the training rows, with `train_` before "
        "each name."
    )
    mlflow_run_id: str = Field(description="The MLflow run of the training.")
