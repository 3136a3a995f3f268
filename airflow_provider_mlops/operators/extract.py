"""The step `extract` as an operator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import SecretStr
from typing_extensions import override

from airflow_provider_mlops.assets.events import DATASETS, AssetUpdate, dataset_made
from airflow_provider_mlops.hooks.database import sqlalchemy_url
from airflow_provider_mlops.lifecycle.extract.spec import ExtractResult, ExtractSpec
from airflow_provider_mlops.lifecycle.extract.step import STEP
from airflow_provider_mlops.operators.step import StepOperator

if TYPE_CHECKING:
    from typing import Unpack

    from airflow_provider_mlops.operators.arguments import ExtractArguments


class ExtractDataOperator(StepOperator[ExtractSpec, ExtractResult], step=STEP):
    """Read rows from a database, files, an Ibis backend, scikit-learn or your own code into a dataset."""

    ui_color = "#d9f2f0"
    template_ext: Sequence[str] = (".sql",)
    events = DATASETS
    operator_extra_links = ()

    source: object

    if TYPE_CHECKING:

        def __init__(self, **arguments: Unpack[ExtractArguments]) -> None: ...

    @override
    def secrets(self) -> dict[str, SecretStr]:
        source = self.source
        if not isinstance(source, dict) or source.get("kind") != "sql" or not source.get("connection"):
            return {}
        conn_id = source["connection"]
        return {f"connection_{conn_id}": SecretStr(sqlalchemy_url(conn_id))}

    @override
    def asset_updates(self, spec: ExtractSpec, result: ExtractResult) -> list[AssetUpdate]:
        return [dataset_made(result.dataset, {"source": spec.source.kind})]
