"""The step `extract` as an operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import SecretStr

from airflow_provider_mlops.assets.events import DATASETS, AssetUpdate, dataset_made
from airflow_provider_mlops.hooks.database import sqlalchemy_url
from airflow_provider_mlops.lifecycle.extract.step import STEP
from airflow_provider_mlops.operators.step import StepOperator


class ExtractDataOperator(StepOperator, step=STEP):
    """Read rows from a database, files, an Ibis backend, scikit-learn or your own code into a dataset."""

    ui_color = "#d9f2f0"
    template_ext: Sequence[str] = (".sql",)
    events = DATASETS
    operator_extra_links = ()

    def secrets(self) -> dict[str, Any]:
        """The SQLAlchemy URL of the database that a SQL source reads."""
        source: Any = self.source  # type: ignore[attr-defined]
        if not isinstance(source, dict) or source.get("kind") != "sql" or not source.get("connection"):
            return {}
        conn_id = source["connection"]
        return {f"connection_{conn_id}": SecretStr(sqlalchemy_url(conn_id))}

    def asset_updates(self, spec: Any, result: Any) -> list[AssetUpdate]:
        """The dataset."""
        return [dataset_made(result.dataset, {"source": spec.source.kind})]
