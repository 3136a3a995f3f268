"""Run the level 1 example DAG through a real Airflow and show what came of it."""

from __future__ import annotations

import os
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from demo.airflow_api import FINISHED, AirflowApi
from demo.home import Home
from demo.outcome import show_outcome
from demo.service import ServiceError
from demo.stack import Stack

DAG_ID = "level_1_train_and_deploy"
_COLOURS = {"success": "green", "failed": "red", "running": "cyan", "skipped": "magenta", "upstream_failed": "red"}


class Terminated(BaseException):
    """The process was asked to end, with SIGTERM."""


def main() -> int:
    """Start everything, run the DAG, show the outcome, and stop everything. Returns the exit code."""
    stays = sys.stdout.isatty() and os.environ.get("CI", "").lower() not in ("1", "true")
    console = Console(highlight=False)
    signal.signal(signal.SIGTERM, _terminate)
    # A shell lets what it starts in the background ignore Ctrl-C, and it is how the demo ends once it is in front.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    home = Home(Path(os.environ.get("MLOPS_DEMO_HOME", ".demo")).resolve())
    stack = Stack(home)
    console.print(f"Everything lies under {home.path}")
    try:
        _start(stack, console)
        api = AirflowApi(stack.airflow_url)
        if not _run(stack, api, console):
            return 1
        if stays:
            console.print("\nRunning until Ctrl-C.")
            _wait_for_the_end()
        return 0
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except Terminated:
        return 128 + signal.SIGTERM
    except (ServiceError, TimeoutError) as error:
        console.print(f"[red]{error}[/red]", markup=True)
        return 1
    finally:
        # Whoever is impatient now would leave servers behind.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        console.print("Stopping")
        stack.stop()
        home.release()


def _start(stack: Stack, console: Console) -> None:
    for service, seconds in stack.start():
        started = time.monotonic()
        with console.status(f"{service.name} starts"):
            service.wait(seconds)
        console.print(f"{service.name} is up ({time.monotonic() - started:.0f} s)")


def _run(stack: Stack, api: AirflowApi, console: Console) -> bool:
    with console.status("Airflow reads the DAGs"):
        api.wait_for_dag(DAG_ID, 180)
    run_id = api.trigger(DAG_ID)
    console.print(f"Triggered {DAG_ID}, run {run_id}")
    seen: dict[str, str] = {}
    order = api.task_order(DAG_ID)
    started = time.monotonic()
    with Live(console=console, refresh_per_second=4, transient=not console.is_terminal) as live:

        def on_change(tasks: list[dict[str, Any]]) -> None:
            live.update(_progress(sorted(tasks, key=lambda task: order.index(task["task_id"]))))
            if not console.is_terminal:
                for one in tasks:
                    if one["state"] in FINISHED and seen.get(one["task_id"]) != one["state"]:
                        console.print(f"  {one['task_id']:15} {one['state']:16} {one['duration'] or 0:6.1f} s")
                        seen[one["task_id"]] = one["state"]

        state = api.wait_for_run(DAG_ID, run_id, 900, on_change)
    console.print(f"The run ended as {state} after {time.monotonic() - started:.0f} s")
    if state != "success":
        for one in api.tasks(DAG_ID, run_id):
            if one["state"] == "failed":
                console.print(f"\n[red]{one['task_id']} failed.[/red] Its log:")
                console.print(api.log(DAG_ID, run_id, one), markup=False, soft_wrap=True)
        return False
    show_outcome(stack, api, DAG_ID, run_id, console)
    return True


def _progress(tasks: list[dict[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2))
    for heading in ("task", "state", "seconds"):
        table.add_column(heading)
    for one in tasks:
        state = one["state"] or "waiting"
        colour = _COLOURS.get(state, "white")
        table.add_row(one["task_id"], f"[{colour}]{state}[/{colour}]", _seconds(one))
    return table


def _seconds(task: dict[str, Any]) -> str:
    if task["duration"]:
        return f"{task['duration']:.1f}"
    if task["state"] == "running" and task["start_date"]:
        return f"{(datetime.now(UTC) - datetime.fromisoformat(task['start_date'])).total_seconds():.0f}"
    return ""


def _wait_for_the_end() -> None:
    """Return at Ctrl-C, which is how a demo that has shown everything is meant to end."""
    try:
        signal.pause()
    except (KeyboardInterrupt, Terminated):
        return


def _terminate(number: int, frame: object) -> None:
    raise Terminated


if __name__ == "__main__":
    sys.exit(main())
