"""`airflow-mlops keys`: make, list and revoke the keys of the gateway's clients."""

from __future__ import annotations

from typing import Annotated

import typer

from airflow_provider_mlops import extras
from airflow_provider_mlops.data.names import pluralize

KeysFile = Annotated[
    str,
    typer.Option(
        "--file",
        help="Key file, the one that `airflow-mlops serve --keys` reads.",
        envvar="AIRFLOW_MLOPS_GATEWAY_KEYS",
        metavar="FILE",
        show_default=False,
    ),
]
ClientName = Annotated[str, typer.Argument(help="Name of the client.", show_default=False)]


def create(
    client: ClientName,
    file: KeysFile,
    right: Annotated[
        list[str],
        typer.Option(
            help="Right of a new client: prediction, feedback, monitoring or administration; repeat the option for "
            "several.",
            metavar="RIGHT",
        ),
    ] = [],  # noqa: B006 (Typer copies it)
    model: Annotated[
        list[str],
        typer.Option(
            help="Model for which the rights of a new client hold; repeat the option for several. By default, all "
            "models.",
            metavar="NAME",
        ),
    ] = [],  # noqa: B006
) -> None:
    """Make a key of a client and print it once; the key file keeps only its hash.

    A client that exists already gets one more key with the same rights, so that you can replace a key without
    interruption.
    """
    extras.require("The command keys", "serving")
    from airflow_provider_mlops.serving.gateway.access import key_file

    with key_file.changing(file) as versions:
        # The name of a right is checked there, with the valid ones in the message.
        changed, key = versions[0].with_key(client, tuple(right), tuple(model) or None)  # type: ignore[arg-type]
        versions.append(changed)
    stored = changed.clients[client].keys[-1]
    typer.echo(
        f"Added key {stored.id} of client {client} to {file}. The key itself is not stored and not shown again:",
        err=True,
    )
    typer.echo(key)


def list_(file: KeysFile) -> None:
    """List the clients, their rights, and the ids of their keys."""
    extras.require("The command keys", "serving")
    from airflow_provider_mlops.serving.gateway.access import key_file

    for name, client in sorted(key_file.read(file).clients.items()):
        models = "all models" if client.models is None else ", ".join(client.models)
        limits = "".join(f", at most {rate:g} {amount}/s" for amount, rate in client.limits.items())
        typer.echo(f"{name}: {', '.join(client.rights)} for {models}{limits}")
        for key in client.keys:
            created = "" if key.created is None else f"  created {key.created:%Y-%m-%d %H:%M} UTC"
            typer.echo(f"  {key.id}{created}")


def revoke(
    client: ClientName,
    file: KeysFile,
    id_: Annotated[
        str | None,
        typer.Option("--id", help="Revoke only this key of the client, as `keys list` shows it.", metavar="ID"),
    ] = None,
) -> None:
    """Revoke one key of a client, or the client with all its keys. Running gateways notice within seconds."""
    extras.require("The command keys", "serving")
    from airflow_provider_mlops.serving.gateway.access import key_file

    with key_file.changing(file) as versions:
        versions.append(versions[0].without(client, id_))
    left = versions[-1].clients.get(client)
    typer.echo(f"Revoked {'all keys' if id_ is None else f'key {id_}'} of client {client}; ", nl=False)
    typer.echo(f"{pluralize(0 if left is None else len(left.keys), 'key')} left")
