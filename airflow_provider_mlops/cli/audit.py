"""`airflow-mlops audit`: print the audit trail of a model."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import unquote

import typer

from airflow_provider_mlops import extras
from airflow_provider_mlops.cli.rollouts import console
from airflow_provider_mlops.cli.storage_options import StorageUri
from airflow_provider_mlops.data.default_storage import default_storage_uri
from airflow_provider_mlops.errors import InvalidSpecError


def audit(
    model: Annotated[str, typer.Argument(help="Name of the registered model.", metavar="MODEL")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per entry and line.")] = False,
    storage_uri: StorageUri = None,
) -> None:
    """Print the audit trail of a model: who changed its champion or its rollouts, when and why."""
    extras.require("The command audit", "train")
    from rich.table import Table

    from airflow_provider_mlops.data import storage
    from airflow_provider_mlops.data.names import suggest
    from airflow_provider_mlops.registry import audit as trail
    from airflow_provider_mlops.registry.connection import Registry
    from airflow_provider_mlops.registry.settings import RegistrySettings

    root = storage_uri or default_storage_uri()
    entries = trail.entries(Registry(RegistrySettings(root)), model)
    if not entries:
        known = sorted(map(unquote, storage.names(storage.join(root, "audit"))))
        raise InvalidSpecError(
            "model", model, f"{root} has no audit trail of a model with this name. {suggest(model, known)}"
        )
    if as_json:
        for entry in entries:
            typer.echo(entry.model_dump_json())
        return
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("entry", "time (UTC)", "action", "champion", "rollout", "by", "reason"):
        table.add_column(title, no_wrap=title not in ("by", "reason"))
    for entry in entries:
        moved = f"{entry.from_version or 'none'} → {entry.to_version or 'none'}"
        table.add_row(
            str(entry.sequence),
            f"{entry.time:%Y-%m-%d %H:%M:%S}",
            entry.action,
            moved if entry.moves_champion else str(entry.to_version or "none"),
            entry.rollout_id or "",
            entry.by.key,
            entry.reason,
        )
    console().print(table)
