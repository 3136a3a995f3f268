"""
### An existing DAG with one operator added

A team exports features, trains on them and returns a score, all with its own functions. The only new task is
`check_features`: Great Expectations now checks the features before the training, and its Data Docs are one click away.
Nothing else in the DAG was changed.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from airflow.sdk import dag, task

from airflow_provider_mlops.operators.validate_data import ValidateDataOperator


def feature_expectations():
    """Return the expectations that the training relies on. The imports are inside because this runs in the task."""
    import great_expectations as gx

    return [
        gx.expectations.ExpectColumnToExist(column="bmi"),
        gx.expectations.ExpectColumnValuesToNotBeNull(column="progression"),
        gx.expectations.ExpectColumnValuesToBeBetween(column="progression", min_value=0, max_value=400),
        gx.expectations.ExpectTableRowCountToBeBetween(min_value=300),
    ]


@dag(
    description="Train a regression model, with an added check of the features",
    schedule=None,
    doc_md=__doc__,
    default_args={"retries": 1, "retry_delay": timedelta(seconds=10)},
    tags=["mlops", "existing"],
)
def diabetes_weekly():
    @task
    def export_features() -> str:
        import tempfile

        from sklearn.datasets import load_diabetes

        frame = load_diabetes(as_frame=True).frame.rename(columns={"target": "progression"})
        path = Path(tempfile.gettempdir()) / "diabetes_weekly" / "features.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(path, index=False)
        return str(path)

    @task
    def train(path: str) -> float:
        import pandas as pd
        from sklearn.linear_model import RidgeCV
        from sklearn.model_selection import cross_val_score

        frame = pd.read_parquet(path)
        scores = cross_val_score(RidgeCV(), frame.drop(columns="progression"), frame["progression"], scoring="r2")
        return float(scores.mean())

    features = export_features()

    # The added operator.
    check_features = ValidateDataOperator(
        task_id="check_features",
        dataset=features,
        suite_code=feature_expectations,
    )

    check_features >> train(features)


diabetes_weekly()
