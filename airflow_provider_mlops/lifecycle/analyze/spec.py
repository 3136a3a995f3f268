"""The fields of the step `analyze` and what it returns."""

from __future__ import annotations

from pydantic import Field

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.lifecycle.step import Result, Spec


class AnalyzeSpec(Spec):
    """What to analyze."""

    dataset: Dataset = Field(description="The rows to look at.")
    target: str | None = Field(
        default=None,
        description="The column to predict. With it come associations, suspected leakage and class balance.",
    )
    slices: tuple[str, ...] = Field(default=(), description="Columns whose values rows are counted by.")
    bins: int = Field(default=20, ge=2, le=200, description="How many bins a histogram has.")
    top_values: int = Field(
        default=10, ge=1, le=100, description="How many of a column's most frequent values to keep."
    )


class AnalyzeResult(Result):
    """Where the profile and the report lie, and what stood out."""

    dataset: Dataset = Field(description="The dataset, handed on.")
    profile_uri: str = Field(description="The profile, JSON: what monitoring and data validation compare with.")
    report_uri: str = Field(description="The report, one HTML file.")
    rows: int = Field(description="How many rows there are.")
    columns: int = Field(description="How many columns there are.")
    duplicate_rows: int = Field(description="How many rows repeat another one in every column.")
    suspected_leakage: tuple[str, ...] = Field(
        description="Columns that nearly determine the target or look like identifiers; the profile has them all."
    )
    class_balance: dict[str, float] | None = Field(
        description="The share of each class, largest first; None without classes. The profile has all of them."
    )
    mlflow_run_id: str = Field(description="The MLflow run that holds the report and the profile.")
