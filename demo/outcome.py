"""What a finished run of the example has brought: shown from Airflow's XComs and the live endpoint."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.serving.client.client import GatewayClient
from demo.airflow_api import AirflowApi
from demo.stack import Stack


def show_outcome(stack: Stack, api: AirflowApi, dag_id: str, run_id: str, console: Console) -> None:
    """Print the run, the model version, its metrics, a prediction, the drift verdict and the addresses."""
    model = api.xcom(dag_id, run_id, "deploy", "model")
    console.print(f"\n[bold]Model[/bold]     {model['name']}, version {model['version']}")
    console.print(f"[bold]Verdict[/bold]   {api.xcom(dag_id, run_id, 'validate', 'verdict')}")
    _show_metrics(api, dag_id, run_id, console)

    rows = Dataset.model_validate(api.xcom(dag_id, run_id, "prepare", "test")).arrow().slice(0, 1).to_pylist()
    target = api.get(f"/dags/{dag_id}/dagRuns/{run_id}")["conf"].get("target", "target")
    label = rows[0].pop(target)
    with GatewayClient(stack.gateway_url) as gateway:
        answer = gateway.infer(model["name"], rows)
    console.print(
        f"[bold]Prediction[/bold] for one test row: {answer.output[0]} (label {label}), id {answer.prediction_ids[0]}"
    )
    drifted = api.xcom(dag_id, run_id, "monitor", "drifted_features")
    console.print(
        f"[bold]Drift[/bold]     {api.xcom(dag_id, run_id, 'monitor', 'verdict')}, "
        f"{len(drifted)} drifted features, {api.xcom(dag_id, run_id, 'monitor', 'rows')} predictions looked at"
    )
    console.print(f"\nAirflow   {stack.airflow_url}/dags/{dag_id}/runs/{run_id}", soft_wrap=True)
    console.print(f"MLflow    {stack.mlflow_url}/#/models/{model['name']}/versions/{model['version']}")
    console.print(f"Gateway   {stack.gateway_url}/v2/models/{model['name']}")


def _show_metrics(api: AirflowApi, dag_id: str, run_id: str, console: Console) -> None:
    metrics = api.xcom(dag_id, run_id, "evaluate", "metrics")
    intervals = api.xcom(dag_id, run_id, "evaluate", "intervals")
    baseline = api.xcom(dag_id, run_id, "evaluate", "baseline")
    table = Table(box=None, padding=(0, 2))
    for heading in ("metric", "model", "95% interval", "baseline"):
        table.add_column(heading)
    for name, value in metrics.items():
        low, high = intervals.get(name, (None, None))
        interval = "" if low is None else f"{low:.3f} to {high:.3f}"
        table.add_row(name, f"{value:.3f}", interval, f"{baseline[name]:.3f}" if name in baseline else "")
    console.print(table)
