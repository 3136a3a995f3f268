"""The command line `airflow-mlops`: its commands, and how their errors are shown."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typing_extensions import override

from airflow_provider_mlops import __version__
from airflow_provider_mlops.cli import audit, keys, report, rollouts, sample, serve, step, traffic
from airflow_provider_mlops.errors import MlopsError

# Typer has a copy of Click in some releases, and names its errors only there.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]


class Commands(TyperGroup):
    """The commands. Wrong arguments, and errors of this package, are printed as a sentence, with exit code 2."""

    @override
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except MlopsError as error:
            typer.echo(f"airflow-mlops {ctx.invoked_subcommand}: {error}", err=True)
            raise typer.Exit(2) from error
        except _UsageError as error:
            message = getattr(error, "format_message", error.__str__)()
            if ctx.invoked_subcommand is None or "\n" in message:
                # A command without arguments shows its help.
                raise
            typer.echo(f"airflow-mlops {ctx.invoked_subcommand}: {message.rstrip('.')}. See --help.", err=True)
            raise typer.Exit(2) from error


app = typer.Typer(
    name="airflow-mlops",
    cls=Commands,
    help="The serving gateway and the lifecycle steps of airflow-provider-mlops, without Airflow.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Frames and colors are for people at a terminal.
    rich_markup_mode="rich" if sys.stdout.isatty() else None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"airflow-provider-mlops {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Take the options that stand before the command."""


app.command()(serve.serve)
app.command()(traffic.traffic)
app.command()(report.report)
app.add_typer(rollouts.app, name="rollouts")
app.command()(audit.audit)
app.command()(step.step)
keys_ = typer.Typer(help="Make, list and revoke the keys of the gateway's clients.", no_args_is_help=True)
keys_.command()(keys.create)
keys_.command("list")(keys.list_)
keys_.command()(keys.revoke)
app.add_typer(keys_, name="keys")
samples = typer.Typer(help="Write synthetic sample datasets.", no_args_is_help=True)
samples.command()(sample.customers)
app.add_typer(samples, name="sample")
