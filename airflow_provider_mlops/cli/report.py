"""`airflow-mlops report`: show a rollout."""

from __future__ import annotations

from typing import Annotated

import typer

from airflow_provider_mlops import extras
from airflow_provider_mlops.cli.rollouts import console, open_store
from airflow_provider_mlops.cli.storage_options import RolloutStoreUrl, StorageUri
from airflow_provider_mlops.data.default_storage import default_storage_uri
from airflow_provider_mlops.errors import InvalidSpecError


def report(
    rollout: Annotated[
        str, typer.Argument(help="ID of a rollout, or name of a model. A name selects the model's newest rollout.")
    ],
    storage_uri: StorageUri = None,
    rollout_store: RolloutStoreUrl = None,
) -> None:
    """Show the results of a rollout.

    The report has its history, the results of each arm, and estimates for other policies.
    """
    extras.require("The command report", "train")
    from airflow_provider_mlops.lifecycle.rollout import report as rollout_report

    storage = storage_uri or default_storage_uri()
    with open_store(storage, rollout_store) as store:
        newest = next(iter(store.of_model(rollout, limit=1)), None) or store.find(rollout)
        if newest is None:
            raise InvalidSpecError(
                "rollout",
                rollout,
                f"the rollout store {store.engine.address} has neither a rollout with this id nor a rollout of a "
                "model with this name. Check the name, or wait until the rollout has started",
            )
        rollout_report.show(console(), store, storage, newest)
