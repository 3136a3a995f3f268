"""Train a model and a challenger in a real Airflow on this machine, and show the results."""

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
from demo.next_steps import show_next_steps, start_traffic
from demo.outcome import show_outcome
from demo.service import ServiceError
from demo.stack import USUAL_PORTS, Stack

CHAMPION_DAG, CHALLENGER_DAG = "level_1_train_and_deploy", "level_1_train_challenger"
_COLORS = {"success": "green", "failed": "red", "running": "cyan", "skipped": "magenta", "upstream_failed": "red"}
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Terminated(BaseException):
    """A signal asked the process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main() -> int:
    """Start everything, run the DAGs, show the outcome, and stop everything. Returns the exit code."""
    asked_to_stay = os.environ.get("MLOPS_DEMO_STAY", "").lower() in ("1", "true")
    stays = asked_to_stay or (sys.stdout.isatty() and os.environ.get("CI", "").lower() not in ("1", "true"))
    console = Console(highlight=False)
    # SIGINT, too: a shell that starts a process in the background makes it ignore Ctrl-C.
    for number in _ENDINGS:
        signal.signal(number, _terminate)
    home = Home(Path(os.environ.get("MLOPS_DEMO_HOME", ".demo")).resolve())
    stack = Stack(home, preferred_ports=USUAL_PORTS)
    console.print(f"All files are in {home.path}", soft_wrap=True)
    is_finished = False
    try:
        _start(stack, console)
        api = AirflowApi(stack.airflow_url)
        for dag_id in (CHAMPION_DAG, CHALLENGER_DAG):
            if not _run(api, dag_id, console):
                return 1
        show_outcome(stack, api, CHAMPION_DAG, CHALLENGER_DAG, console)
        is_finished = True
        if stays:
            start_traffic(stack)
            show_next_steps(stack, console)
            console.print("\nRunning until Ctrl-C.")
            signal.pause()
        else:
            console.print(
                "\nThe output is not a terminal, so the demo ends here. Set MLOPS_DEMO_STAY=1 to keep it running.",
                soft_wrap=True,
            )
        return 0
    except Terminated as ending:
        # Ctrl-C is how a demo that has shown everything is meant to end.
        return 0 if is_finished else 128 + ending.number
    except (ServiceError, TimeoutError) as error:
        console.print(str(error), style="red", markup=False)
        return 1
    finally:
        # A second Ctrl-C would leave servers running.
        for number in _ENDINGS:
            signal.signal(number, signal.SIG_IGN)
        console.print("Stopping")
        stack.stop()
        home.release()


def _start(stack: Stack, console: Console) -> None:
    for service, seconds in stack.start():
        started = time.monotonic()
        with console.status(f"Starting {service.name}"):
            service.wait(seconds)
        console.print(f"{service.name} is up ({time.monotonic() - started:.0f} s)")


def _run(api: AirflowApi, dag_id: str, console: Console) -> bool:
    """Run a DAG to its end and show its tasks. Returns whether it succeeded."""
    with console.status("Airflow is reading the DAGs"):
        api.wait_for_dag(dag_id, 180)
    run_id = api.trigger(dag_id)
    console.print(f"Triggered {dag_id}, run {run_id}")
    printed: set[str] = set()
    order = api.task_order(dag_id)
    started = time.monotonic()
    with Live(console=console, refresh_per_second=4, transient=not console.is_terminal) as live:

        def on_change(tasks: list[dict[str, Any]]) -> None:
            live.update(_progress(sorted(tasks, key=lambda task: order.index(task["task_id"]))))
            if not console.is_terminal:
                for task in tasks:
                    if task["state"] in FINISHED and task["task_id"] not in printed:
                        console.print(f"  {task['task_id']:15} {task['state']:16} {task['duration'] or 0:6.1f} s")
                        printed.add(task["task_id"])

        state = api.wait_for_run(dag_id, run_id, 900, on_change)
    console.print(f"The run ended with the state {state} after {time.monotonic() - started:.0f} s")
    for task in api.tasks(dag_id, run_id):
        if task["state"] == "failed":
            console.print(f"\n[red]{task['task_id']} failed.[/red] Its log:")
            console.print(api.log(dag_id, run_id, task), markup=False, soft_wrap=True)
    return state == "success"


def _progress(tasks: list[dict[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2))
    for heading in ("task", "state", "seconds"):
        table.add_column(heading)
    for task in tasks:
        state = task["state"] or "waiting"
        color = _COLORS.get(state, "white")
        table.add_row(task["task_id"], f"[{color}]{state}[/{color}]", _seconds(task))
    return table


def _seconds(task: dict[str, Any]) -> str:
    if task["duration"]:
        return f"{task['duration']:.1f}"
    if task["state"] == "running" and task["start_date"]:
        return f"{(datetime.now(UTC) - datetime.fromisoformat(task['start_date'])).total_seconds():.0f}"
    return ""


def _terminate(number: int, frame: object) -> None:
    raise Terminated(number)


if __name__ == "__main__":
    sys.exit(main())
