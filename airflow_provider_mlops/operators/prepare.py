"""The step `prepare` as an operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from airflow_provider_mlops.assets.events import DATASETS, AssetUpdate, dataset_made
from airflow_provider_mlops.lifecycle.prepare.spec import PrepareResult, PrepareSpec
from airflow_provider_mlops.lifecycle.prepare.step import STEP
from airflow_provider_mlops.operators.step import StepOperator

if TYPE_CHECKING:
    from typing import Unpack

    from airflow_provider_mlops.operators.arguments import PrepareArguments


class PrepareDataOperator(StepOperator[PrepareSpec, PrepareResult], step=STEP):
    """Split a dataset into train, validation and test rows. The same data and seed give the same split."""

    ui_color = "#e0e8fb"
    events = DATASETS

    if TYPE_CHECKING:

        def __init__(self, **arguments: Unpack[PrepareArguments]) -> None: ...

    @override
    def asset_updates(self, spec: PrepareSpec, result: PrepareResult) -> list[AssetUpdate]:
        if result.skipped:
            return []
        parts = [part for part in (result.train, result.validation, result.test) if part is not None]
        return [dataset_made(part, {"parent_fingerprint": spec.dataset.fingerprint}) for part in parts]
