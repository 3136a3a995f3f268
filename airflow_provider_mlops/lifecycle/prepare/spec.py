"""The fields and the result of the step `prepare`."""

from __future__ import annotations

from pydantic import Field

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.lifecycle.prepare.preprocessing import Preprocessing
from airflow_provider_mlops.lifecycle.prepare.split import Split
from airflow_provider_mlops.lifecycle.step import Result, Spec
from airflow_provider_mlops.lifecycle.user_code import UserCode


class PrepareSpec(Spec):
    """The fields of the step `prepare`."""

    dataset: Dataset = Field(description="The rows to prepare.")
    target: str = Field(description="Name of the column to predict.")
    split: Split = Field(
        default_factory=Split, description="How to split the rows into training, validation and test rows."
    )
    seed: int = Field(
        default=0,
        description="Seed of the split. The same rows with the same seed give the same split; another seed gives "
        "another split.",
    )
    filters: tuple[str, ...] = Field(
        default=(),
        description='SQL predicates over one row, for example `"age >= 18"`. A row is kept only if all of them are '
        "true. They are applied before `features`.",
    )
    features: UserCode | None = Field(
        default=None,
        description="A function that adds features. It takes `table` (an Ibis table, computed by the engine) or "
        "`frame` (a pandas DataFrame, all rows in memory), optionally `target`, and returns the table with the new "
        "columns. It is not part of the model: callers of the model must send the columns that it adds. It sees all "
        "rows before the split, so put anything that is learned from other rows into `preprocessing`, which is fitted "
        "on the training rows only.",
    )
    drop: tuple[str, ...] = Field(
        default=(),
        description="Columns that are not features, such as identifiers, dates and the column used for the split.",
    )
    preprocessing: Preprocessing = Field(
        default_factory=Preprocessing,
        description="Preprocessing that turns features into numbers. This step does not fit it; the train step fits "
        "it inside the model.",
    )
    reuse: bool = Field(
        default=True,
        description="Reuse the datasets of an earlier run of the same task if the rows, the fields and the text of "
        "the user code are unchanged. Changes in modules that the user code imports are not noticed.",
    )


class PrepareResult(Result):
    """The result of the step `prepare`."""

    train: Dataset = Field(description="The training rows.")
    validation: Dataset = Field(description="The rows for choosing hyperparameters; empty if `split.validation` is 0.")
    test: Dataset = Field(
        description="The rows for the final evaluation, not used before it; empty if `split.test` is 0."
    )
    preprocessing: Preprocessing = Field(
        description="The unfitted preprocessing, which training fits inside the model."
    )
    skipped: bool = Field(description="Whether the datasets of an earlier run were reused because nothing had changed.")
