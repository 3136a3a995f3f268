"""Options that several commands share: where the prediction log, the rollouts and the models are stored."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated

import typer

from airflow_provider_mlops.cli.options import OptionDetails
from airflow_provider_mlops.data.default_storage import default_storage_uri
from airflow_provider_mlops.serving.gateway.settings import Settings

STORAGE = OptionDetails(
    environment=("AIRFLOW_MLOPS_STORAGE_URI", "AIRFLOW__MLOPS__STORAGE_URI"),
    default_factory=default_storage_uri,
    default_text="$AIRFLOW_HOME/mlops",
)
ROLLOUT_STORE = OptionDetails(environment=("AIRFLOW_MLOPS_ROLLOUT_STORE", "AIRFLOW__MLOPS__ROLLOUT_STORE_URL"))

_HELP = {field.name: field.metadata["help"] for field in fields(Settings)}

StorageUri = Annotated[
    str | None,
    typer.Option(
        envvar=list(STORAGE.environment),
        help=_HELP["storage_uri"],
        metavar="URI",
        show_default=STORAGE.default_text or False,
    ),
]
RolloutStoreUrl = Annotated[
    str | None,
    typer.Option(
        envvar=list(ROLLOUT_STORE.environment), help=_HELP["rollout_store"], metavar="URL", show_default=False
    ),
]
TrackingUri = Annotated[
    str | None,
    typer.Option(envvar="MLFLOW_TRACKING_URI", help=_HELP["tracking_uri"], metavar="URI", show_default=False),
]
RegistryUri = Annotated[
    str | None,
    typer.Option(envvar="MLFLOW_REGISTRY_URI", help=_HELP["registry_uri"], metavar="URI", show_default=False),
]
