"""`airflow-mlops rollouts`: list the rollouts that are in progress, and intervene in one."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from airflow_provider_mlops import extras
from airflow_provider_mlops.cli.storage_options import RegistryUri, RolloutStoreUrl, StorageUri, TrackingUri
from airflow_provider_mlops.data.default_storage import default_storage_uri
from airflow_provider_mlops.errors import InvalidSpecError

if TYPE_CHECKING:
    from airflow_provider_mlops.lifecycle.rollout.interventions import Interventions
    from airflow_provider_mlops.registry.audit import AuditEntry
    from airflow_provider_mlops.serving.rollouts.store import RolloutStore

app = typer.Typer(help="List the rollouts that are in progress, or pause, resume, roll back or promote one.")

_WIDE = 250
"""Columns of a table that is not shown in a terminal, so that no row is broken."""

RolloutId = Annotated[str, typer.Argument(help="ID of the rollout.", metavar="ID", show_default=False)]
Reason = Annotated[
    str | None, typer.Option(help="Reason for the audit trail. Required.", metavar="TEXT", show_default=False)
]


@app.callback(invoke_without_command=True)
def list_rollouts(
    context: typer.Context,
    model: Annotated[str | None, typer.Option(help="Show only the rollout of this model.", metavar="NAME")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per rollout and line.")] = False,
    storage_uri: StorageUri = None,
    rollout_store: RolloutStoreUrl = None,
) -> None:
    """List the rollouts that are in progress, or intervene in one with a subcommand."""
    if context.invoked_subcommand is not None:
        given = [name for name in context.params if _is_on_command_line(context, name)]
        if given:
            option = "--json" if given[0] == "as_json" else f"--{given[0].replace('_', '-')}"
            raise InvalidSpecError(
                option,
                context.params[given[0]],
                f"this option does not affect {context.invoked_subcommand}. Put options after the subcommand",
            )
        return
    extras.require("The command rollouts", "train")
    from airflow_provider_mlops.lifecycle.rollout.overview import rollout_rows, rollout_table

    with open_store(storage_uri or default_storage_uri(), rollout_store) as store:
        rows = rollout_rows(store, datetime.now(UTC), model)
        address = store.engine.address
    if as_json:
        for row in rows:
            typer.echo(json.dumps(row.to_json()))
    elif rows:
        console().print(rollout_table(rows))
    else:
        typer.echo(f"No rollout{'' if model is None else f' of {model}'} is in progress in {address}.")


@app.command()
def pause(
    rollout: RolloutId = "",
    reason: Reason = None,
    storage_uri: StorageUri = None,
    rollout_store: RolloutStoreUrl = None,
    tracking_uri: TrackingUri = None,
    registry_uri: RegistryUri = None,
) -> None:
    """Keep the weights of a rollout, and decide nothing until it is resumed.

    Hard limits still hold, and if no one checks the rollout for its unattended_timeout, it is rolled back.
    """
    _intervene(
        lambda interventions, reason: interventions.pause(rollout, reason),
        *(rollout, reason, storage_uri, rollout_store, tracking_uri, registry_uri),
    )


@app.command()
def resume(
    rollout: RolloutId = "",
    reason: Reason = None,
    storage_uri: StorageUri = None,
    rollout_store: RolloutStoreUrl = None,
    tracking_uri: TrackingUri = None,
    registry_uri: RegistryUri = None,
) -> None:
    """Let the evidence decide again about a rollout that was paused."""
    _intervene(
        lambda interventions, reason: interventions.resume(rollout, reason),
        *(rollout, reason, storage_uri, rollout_store, tracking_uri, registry_uri),
    )


@app.command()
def roll_back(
    rollout: RolloutId = "",
    reason: Reason = None,
    storage_uri: StorageUri = None,
    rollout_store: RolloutStoreUrl = None,
    tracking_uri: TrackingUri = None,
    registry_uri: RegistryUri = None,
) -> None:
    """Send all traffic to the champion, and end the rollout."""
    _intervene(
        lambda interventions, reason: interventions.roll_back(rollout, reason),
        *(rollout, reason, storage_uri, rollout_store, tracking_uri, registry_uri),
    )


@app.command()
def promote(
    rollout: RolloutId = "",
    reason: Reason = None,
    version: Annotated[
        int | None, typer.Option(help="Candidate to promote, if there are several.", metavar="N", show_default=False)
    ] = None,
    storage_uri: StorageUri = None,
    rollout_store: RolloutStoreUrl = None,
    tracking_uri: TrackingUri = None,
    registry_uri: RegistryUri = None,
) -> None:
    """Make the candidate the champion, send all traffic to it, and end the rollout."""
    _intervene(
        lambda interventions, reason: interventions.promote(rollout, reason, version),
        *(rollout, reason, storage_uri, rollout_store, tracking_uri, registry_uri),
    )


def console() -> Console:
    """Return a console for tables, which never breaks a line outside a terminal."""
    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=_WIDE)


def _is_on_command_line(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


@contextlib.contextmanager
def open_store(storage_uri: str, rollout_store: str | None) -> Iterator[RolloutStore]:
    """Open the rollout store. Raises InvalidSpecError if it does not exist."""
    from airflow_provider_mlops.serving.rollouts.store import RolloutStore, default_url

    with contextlib.closing(RolloutStore(rollout_store or default_url(storage_uri))) as store:
        if not store.engine.is_there:
            raise InvalidSpecError(
                "rollout_store",
                store.engine.address,
                "the rollout store does not exist. Set --storage-uri or --rollout-store to the same value as for "
                "the gateway",
            )
        yield store


def _intervene(
    change: Callable[[Interventions, str], AuditEntry],
    rollout_id: str,
    reason: str | None,
    storage_uri: str | None,
    rollout_store: str | None,
    tracking_uri: str | None,
    registry_uri: str | None,
) -> None:
    if not rollout_id.strip():
        raise InvalidSpecError("ID", rollout_id, "it must be the ID of a rollout. `airflow-mlops rollouts` lists them")
    if reason is None or not reason.strip():
        raise InvalidSpecError("reason", reason, "a reason is required, for the audit trail. Set --reason TEXT")
    extras.require("The command rollouts", "train")
    from airflow_provider_mlops.lifecycle.rollout.interventions import Interventions
    from airflow_provider_mlops.lifecycle.workspace import Workspace
    from airflow_provider_mlops.registry.author import Person
    from airflow_provider_mlops.registry.settings import RegistrySettings

    storage = storage_uri or default_storage_uri()
    settings = RegistrySettings.from_environment(storage, tracking_uri, registry_uri)
    with open_store(storage, rollout_store) as store:
        rollout = store.get(rollout_id)
        workspace = Workspace(
            storage_uri=storage,
            task=rollout.started_by,
            tracking_uri=tracking_uri,
            registry_uri=registry_uri,
            secrets=_secrets(settings.username, settings.password, settings.token),
        )
        entry = change(Interventions(workspace, store, Person.at_command_line()), reason.strip())
        state = store.get(rollout_id).state
    answering = f"; version {state.version} answers all requests" if state.version is not None else ""
    typer.echo(
        f"Rollout {rollout_id} of {rollout.model} is {state.status_text}{answering} (audit entry {entry.sequence})."
    )


def _secrets(username: str | None, password: str | None, token: str | None) -> dict[str, Any]:
    given = {"mlflow_username": username, "mlflow_password": password, "mlflow_token": token}
    return {name: value for name, value in given.items() if value}
