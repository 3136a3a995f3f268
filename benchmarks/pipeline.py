"""How much time does the provider add? The level 1 work, done in four ways with the same libraries.

(a) one plain script that calls the libraries: `by_hand.py`;
(b) a DAG of `@task` functions that call the libraries: `pipeline_dags/by_hand_level_1.py`;
(c) the level 1 example DAG, with this package's operators;
(d) one plain script with this package's steps, for their time without Airflow: `our_steps.py`.

All use the same MLflow server and gateway; (b) and (c) use the same `airflow standalone`. Rounds alternate, so that
other load on the machine affects all ways alike. Medians are compared.

    python -m benchmarks.pipeline [--rounds N] [--json FILE]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.measure import child, print_table, unwind_on_signals, write_json
from demo.airflow_api import AirflowApi
from demo.home import Home
from demo.stack import DAGS, Stack

ROOT = Path(__file__).resolve().parent.parent
BY_HAND, OURS = "by_hand_level_1", "level_1_train_and_deploy"
FORM: dict[str, Any] = {
    "source": {"kind": "sklearn", "name": "breast_cancer"},
    "target": "target",
    "model_name": "level_1",
    # The gates are computed, and always passed: a measurement must not end because a comparison is inconclusive.
    "min_accuracy": 0,
    "margin": 1,
}


def main() -> None:
    """Run the rounds and print the results."""
    unwind_on_signals()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mlops-benchmark-") as folder:
        seconds, by_task = measure(Path(folder), arguments.rounds)
    report(seconds, by_task, arguments.json)


def measure(folder: Path, rounds: int) -> tuple[dict[str, list[float]], dict[str, dict[str, list[float]]]]:
    """Return the seconds of each round by way, and of each task by DAG, without the first round, which is a warm-up."""
    dags = folder / "dags"
    shutil.copytree(DAGS / "level_1", dags)
    shutil.copytree(ROOT / "benchmarks" / "pipeline_dags", dags / "by_hand")
    home = Home(folder / "home")
    stack = Stack(home, dags)
    environment = {
        "PYTHONPATH": str(ROOT),
        "BENCHMARK_TRACKING_URI": stack.mlflow_url,
        "BENCHMARK_GATEWAY_URL": stack.gateway_url,
        "BENCHMARK_GATEWAY_KEY": stack.gateway_key,
        "BENCHMARK_STORAGE": str(stack.storage),
    }
    stack.add_settings(environment)
    seconds: dict[str, list[float]] = {"a": [], "b": [], "c": [], "d": []}
    by_task: dict[str, dict[str, list[float]]] = {BY_HAND: {}, OURS: {}}
    try:
        for service, patience in stack.start():
            service.wait(patience)
        api = AirflowApi(stack.airflow_url)
        for dag_id in (BY_HAND, OURS):
            api.wait_for_dag(dag_id, 180)
        for number in range(rounds + 1):
            taken = {
                "a": script("by_hand", number, environment),
                "d": script("our_steps", number, environment),
                "b": dag(api, BY_HAND, {}, by_task, number > 0),
                # Another seed each time: otherwise, `prepare` would reuse the datasets of the round before.
                "c": dag(api, OURS, {**FORM, "seed": number}, by_task, number > 0),
            }
            print(f"round {number}: " + ", ".join(f"{way} {value:.1f} s" for way, value in sorted(taken.items())))
            if number > 0:
                for way, value in taken.items():
                    seconds[way].append(value)
    finally:
        stack.stop()
        home.release()
    return seconds, by_task


def script(name: str, number: int, environment: dict[str, str]) -> float:
    """Return the seconds of a Python process that does the work."""
    started = time.monotonic()
    command = [sys.executable, "-m", "benchmarks.pipeline_scripts", name, str(number)]
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    variables = inherited | environment | {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    with tempfile.TemporaryFile() as log, child(command, log, variables) as process:
        if process.wait():
            log.seek(0)
            raise SystemExit(f"The script {name} failed:\n{log.read().decode(errors='replace')[-4000:]}")
    return time.monotonic() - started


def dag(
    api: AirflowApi,
    dag_id: str,
    conf: dict[str, Any],
    by_task: dict[str, dict[str, list[float]]],
    counts: bool,
) -> float:
    """Return the seconds from the start of a run to its end, as Airflow recorded them."""
    run_id = api.trigger(dag_id, conf)
    state = api.wait_for_run(dag_id, run_id, 600)
    if state != "success":
        failed = [task for task in api.tasks(dag_id, run_id) if task["state"] == "failed"]
        raise SystemExit(
            f"{dag_id} ended with the state {state}: " + "\n".join(api.log(dag_id, run_id, task) for task in failed)
        )
    if counts:
        for task in api.tasks(dag_id, run_id):
            by_task[dag_id].setdefault(task["task_id"], []).append(task["duration"])
    run = api.get(f"/dags/{dag_id}/dagRuns/{run_id}")
    return (datetime.fromisoformat(run["end_date"]) - datetime.fromisoformat(run["start_date"])).total_seconds()


def report(seconds: dict[str, list[float]], by_task: dict[str, dict[str, list[float]]], path: str | None) -> None:
    """Print the tables, and write the ratios if a path is given."""
    median = {way: statistics.median(values) for way, values in seconds.items()}
    names = {
        "a": "a plain script, the libraries by hand",
        "d": "a plain script, our steps",
        "b": "a DAG of @task functions by hand",
        "c": "the level 1 DAG with our operators",
    }
    rows = [
        (f"({way}) {name}", round(median[way], 2), round(min(seconds[way]), 2), round(max(seconds[way]), 2))
        for way, name in names.items()
    ]
    print_table(("way", "median s", "min s", "max s"), rows, "The level 1 work")
    tasks = [
        (name, round(statistics.median(by_task[BY_HAND][name]), 2), round(statistics.median(values), 2))
        for name, values in by_task[OURS].items()
    ]
    print_table(("task", "by hand s", "ours s"), tasks, "Seconds per task, as Airflow recorded them")
    ratios = {"ours_of_by_hand_dag": median["c"] / median["b"], "steps_of_plain_script": median["d"] / median["a"]}
    print_table(
        ("ratio", "measured", "target"),
        [
            ("ours_of_by_hand_dag (c/b)", round(ratios["ours_of_by_hand_dag"], 3), "at most 1.0"),
            ("steps_of_plain_script (d/a)", round(ratios["steps_of_plain_script"], 3), "at most 1.2"),
        ],
        "Ratios",
    )
    if path:
        write_json(path, ratios)


if __name__ == "__main__":
    main()
