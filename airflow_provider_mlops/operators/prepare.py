"""The step `prepare` as an operator."""

from __future__ import annotations

from typing import Any

from airflow_provider_mlops.assets.events import DATASETS, AssetUpdate, dataset_made
from airflow_provider_mlops.lifecycle.prepare.step import STEP
from airflow_provider_mlops.operators.step import StepOperator


class PrepareDataOperator(StepOperator, step=STEP):
    """Split a dataset into train, validation and test rows that are the same for the same data and seed."""

    ui_color = "#e0e8fb"
    events = DATASETS

    def asset_updates(self, spec: Any, result: Any) -> list[AssetUpdate]:
        """The parts, unless they were there already."""
        if result.skipped:
            return []
        parts = [part for part in (result.train, result.validation, result.test) if part is not None]
        return [dataset_made(part, {"parent_fingerprint": spec.dataset.fingerprint}) for part in parts]
