"""The results of the two runs, from Airflow's XComs and the live gateway."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.serving.client.client import GatewayClient
from demo.airflow_api import AirflowApi
from demo.stack import Stack


def show_outcome(stack: Stack, api: AirflowApi, champion_dag: str, challenger_dag: str, console: Console) -> None:
    """Print the versions, their metrics, a prediction, the drift verdict and the addresses."""
    champion_run, challenger_run = (api.newest_run(dag_id) for dag_id in (champion_dag, challenger_dag))
    model = api.xcom(champion_dag, champion_run, "deploy", "model")
    challenger = api.xcom(challenger_dag, challenger_run, "validate", "model")
    console.print(f"\n[bold]Champion[/bold]    {model['name']}, version {model['version']}")
    _show_metrics(api, champion_dag, champion_run, console)
    console.print(f"[bold]Challenger[/bold]  {challenger['name']}, version {challenger['version']}")
    _show_metrics(api, challenger_dag, challenger_run, console)

    rows = Dataset.model_validate(api.xcom(champion_dag, champion_run, "prepare", "test")).arrow().slice(0, 1)
    target = api.get(f"/dags/{champion_dag}/dagRuns/{champion_run}")["conf"].get("target", "churned")
    label = rows.column(target)[0].as_py()
    with GatewayClient(stack.gateway_url, stack.gateway_key) as gateway:
        prediction = gateway.infer(model["name"], rows.drop_columns([target]).to_pylist())
    console.print(
        f"[bold]Prediction[/bold]  {prediction.output[0]} for the first test row (label {label}), "
        f"id {prediction.prediction_ids[0]}"
    )
    drifted = api.xcom(champion_dag, champion_run, "monitor", "drifted_features")
    console.print(
        f"[bold]Drift[/bold]       {api.xcom(champion_dag, champion_run, 'monitor', 'verdict')}: {len(drifted)} "
        f"features drifted in {api.xcom(champion_dag, champion_run, 'monitor', 'rows'):,} predictions"
    )
    console.print(f"\nAirflow     {stack.airflow_url}/dags/{champion_dag}/runs/{champion_run}", soft_wrap=True)
    console.print(f"MLflow      {stack.mlflow_url}/#/models/{model['name']}", soft_wrap=True)
    console.print(f"Gateway     {stack.gateway_url}/ (it asks for the key in {stack.key_file})", soft_wrap=True)


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
