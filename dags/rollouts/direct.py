"""
### Direct: all traffic at once, and back at once

The challenger answers all requests from the start (blue-green), while the champion stays loaded. No traffic is left to
compare with, so the gates are fixed limits. The rollout is rolled back when a gate fails, and within a second by the
gateway itself when half of the requests fail. Use it if the version was proven elsewhere.
"""

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_provider_mlops.operators.rollout import RolloutOperator
from airflow_provider_mlops.sensors.model_version import ModelVersionSensor

with DAG(
    dag_id="rollout_direct",
    description="Send all requests to the challenger at once, and roll back if it fails too often or is too slow",
    doc_md=__doc__,
    schedule=None,
    params={
        "model_name": Param("churn", type="string", title="Model", description="Has a champion and a challenger."),
        "bake_time": Param(
            30, type="number", minimum=0, title="Bake time", description="Minimum seconds of the rollout."
        ),
    },
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
    render_template_as_native_obj=True,
    max_active_runs=1,
    tags=["mlops", "rollout"],
):
    challenger = ModelVersionSensor(
        task_id="challenger", model_name="{{ params.model_name }}", alias="challenger", poke_interval=5, timeout=60
    )
    RolloutOperator(
        task_id="rollout",
        model=challenger.output,
        strategy="direct",
        gates=[
            {"kind": "error_rate", "max_rate": 0.05},
            {"kind": "latency", "quantile": 0.95, "max_latency_ms": 500},
        ],
        bake_time="{{ params.bake_time }}",
    )
