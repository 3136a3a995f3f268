"""
### Canary: a growing share of the traffic, with gates at each step

The challenger gets 10%, then 50%, then all of the requests. Before each step, its error rate is compared with the
champion's, and its latency with a limit. Too little traffic is *inconclusive* and never counts as success; if a step is
still undecided after a day, you are asked under *Required Actions*.
"""

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_provider_mlops.operators.rollout import RolloutOperator
from airflow_provider_mlops.sensors.endpoint_healthy import EndpointHealthySensor
from airflow_provider_mlops.sensors.model_version import ModelVersionSensor

with DAG(
    dag_id="rollout_canary",
    description="Release the challenger to 10%, 50% and 100% of the requests",
    doc_md=__doc__,
    schedule=None,
    params={
        "model_name": Param("churn", type="string", title="Model", description="Has a champion and a challenger."),
        "bake_time": Param(30, type="number", minimum=0, title="Bake time", description="Minimum seconds per step."),
    },
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
    render_template_as_native_obj=True,
    max_active_runs=1,
    tags=["mlops", "rollout"],
):
    challenger = ModelVersionSensor(
        task_id="challenger", model_name="{{ params.model_name }}", alias="challenger", poke_interval=5, timeout=60
    )
    # A rollout that starts during an incident would be blamed for it.
    healthy = EndpointHealthySensor(
        task_id="healthy", model_name="{{ params.model_name }}", consecutive_checks=1, poke_interval=5, timeout=600
    )
    healthy >> RolloutOperator(
        task_id="rollout",
        model=challenger.output,
        strategy={"kind": "canary", "steps": [0.1, 0.5, 1.0]},
        gates=[{"kind": "error_rate", "margin": 0.05}, {"kind": "latency", "max_latency_ms": 500}],
        bake_time="{{ params.bake_time }}",
        on_inconclusive="ask",
    )
