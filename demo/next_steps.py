"""The traffic that the demo leaves running, and commands to try next."""

from __future__ import annotations

import json

from rich.console import Console

from airflow_provider_mlops.data.samples.customers import FEATURES, CustomersSample
from demo.stack import Stack

MODEL = "churn"
HOURS = 2


def start_traffic(stack: Stack) -> None:
    """Replay the sample of customers against the gateway: 50 requests per second, with labels and rewards, for 2 h."""
    rows, _ = CustomersSample().write(stack.home.path / "sample")
    arguments = [str(rows), MODEL, "--rate", "50", "--seconds", str(HOURS * 3600), "--repeat"]
    arguments += ["--target", "churned", "--reward-from", "correct", "--header", "X-User-Id=customer_id"]
    stack.start_traffic(arguments)


def show_next_steps(stack: Stack, console: Console) -> None:
    """Print commands for a prediction and a rollout."""
    row = CustomersSample(rows=1000).customers().select(FEATURES).slice(0, 1).to_pylist()[0]
    body = json.dumps({"dataframe_records": [row]}, ensure_ascii=False)
    sections = {
        f"The sample of customers is replayed at 50 requests per second for {HOURS} hours. Ask for a prediction:": (
            f"curl -s {stack.gateway_url}/models/{MODEL}/invocations -H 'Content-Type: application/json' \\\n"
            f'    -H "Authorization: Bearer $(cat {stack.key_file})" \\\n'
            f"    -d '{body}'"
        ),
        f"Release the challenger: trigger rollout_canary at {stack.airflow_url}/dags/rollout_canary, or run:": (
            f"TOKEN=$(curl -s {stack.airflow_url}/auth/token | "
            "python3 -c 'import json, sys; print(json.load(sys.stdin)[\"access_token\"])')\n"
            f"curl -s {stack.airflow_url}/api/v2/dags/rollout_canary/dagRuns \\\n"
            "    -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' \\\n"
            '    -d \'{"logical_date": null, "conf": {}}\''
        ),
        "Follow the rollout:": f".venv/bin/airflow-mlops report {MODEL} --storage-uri {stack.storage}",
    }
    for title, command in sections.items():
        console.print(f"\n[bold]{title}[/bold]", soft_wrap=True)
        console.print(command, markup=False, soft_wrap=True)
