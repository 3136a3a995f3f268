"""The fields and the result of the step `analyze`."""

from __future__ import annotations

from pydantic import Field

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.lifecycle.step import Result, Spec


class AnalyzeSpec(Spec):
    """The fields of the step `analyze`."""

    dataset: Dataset = Field(description="The rows to analyze.")
    target: str | None = Field(
        default=None,
        description="Name of the column to predict. If it is set, the analysis includes associations with it, "
        "suspected leakage and the class balance.",
    )
    slices: tuple[str, ...] = Field(
        default=(),
        description="Columns that define slices: the report shows the number of rows for each of their values.",
    )
    bins: int = Field(default=20, ge=2, le=200, description="Number of bins in each histogram.")
    top_values: int = Field(
        default=10, ge=1, le=100, description="Number of most frequent values to keep for each column."
    )


class AnalyzeResult(Result):
    """The result of the step `analyze`."""

    dataset: Dataset = Field(description="The analyzed dataset, unchanged, as input of the next step.")
    profile_uri: str = Field(
        description="URI of the profile, a JSON file. The steps `monitor` and `validate_data` compare later data with "
        "it."
    )
    report_uri: str = Field(description="URI of the report, an HTML file.")
    rows: int = Field(description="Number of rows.")
    columns: int = Field(description="Number of columns.")
    duplicate_rows: int = Field(description="Number of rows that are equal to an earlier one in every column.")
    suspected_leakage: tuple[str, ...] = Field(
        description="Columns that nearly determine the target or look like identifiers. The list may be shortened; "
        "the profile has all of them."
    )
    class_balance: dict[str, float] | None = Field(
        description="Share of each class, largest first; None if the target has no classes. The profile has all "
        "classes."
    )
    mlflow_run_id: str = Field(description="ID of the MLflow run with the report and the profile.")
