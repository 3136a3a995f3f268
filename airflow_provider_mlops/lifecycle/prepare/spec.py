"""The fields of the step `prepare` and what it returns."""

from __future__ import annotations

from pydantic import Field

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.lifecycle.prepare.preprocessing import Preprocessing
from airflow_provider_mlops.lifecycle.prepare.split import Split
from airflow_provider_mlops.lifecycle.step import Result, Spec
from airflow_provider_mlops.lifecycle.user_code import UserCode


class PrepareSpec(Spec):
    """What to prepare for training."""

    dataset: Dataset = Field(description="The rows to prepare.")
    target: str = Field(description="The column to predict.")
    split: Split = Field(default_factory=Split, description="How rows are split into training, validation and test.")
    seed: int = Field(
        default=0, description="Another seed gives another split. The same seed on the same rows gives the same."
    )
    filters: tuple[str, ...] = Field(
        default=(),
        description='SQL predicates over one row, such as `"age >= 18"`; rows for which all are true are kept. '
        "They are applied before `features`.",
    )
    features: UserCode | None = Field(
        default=None,
        description="The user's own features: a function that is given `table` (an Ibis table, computed by the engine) "
        "or `frame` (a pandas DataFrame, all rows in memory), and `target` if it names it, and returns the table with "
        "what it adds. It sees all rows before the split, so whatever it learns from other rows leaks into training: "
        "that belongs into `preprocessing`, which is fitted on the training rows only.",
    )
    drop: tuple[str, ...] = Field(
        default=(), description="Columns that are no features: identifiers, dates, the column that was split by."
    )
    preprocessing: Preprocessing = Field(
        default_factory=Preprocessing,
        description="How features become numbers. It is handed on unfitted: training fits it inside the model.",
    )
    reuse: bool = Field(
        default=True,
        description="Whether to hand on what an earlier run of the same task prepared, if neither the rows nor the "
        "spec nor the text of the user's code has changed since. Code that the user's module imports is not looked at.",
    )


class PrepareResult(Result):
    """The three datasets, and what training has to fit on the first of them."""

    train: Dataset = Field(description="The rows to fit on.")
    validation: Dataset = Field(description="The rows to choose parameters by; without rows if its share is 0.")
    test: Dataset = Field(
        description="The rows that nothing before evaluation may see; without rows if its share is 0."
    )
    preprocessing: Preprocessing = Field(description="What training fits inside the model, unfitted.")
    skipped: bool = Field(description="Whether nothing had to be done because nothing had changed.")
