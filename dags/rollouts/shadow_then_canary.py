"""
### Shadow, then canary: try a version without callers, then with some

Callers get the champion's answers. The challenger gets a copy of each request after the answer was sent, so it may be
slow or broken without harm. If it rarely fails and mostly agrees with the champion, a canary releases it in two steps.
"""

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_provider_mlops.operators.rollout import RolloutOperator
from airflow_provider_mlops.sensors.model_version import ModelVersionSensor

with DAG(
    dag_id="rollout_shadow_then_canary",
    description="Compare the challenger on copies of the requests first, then release it in steps",
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
    shadow = RolloutOperator(
        task_id="shadow",
        model=challenger.output,
        strategy={"kind": "shadow", "on_success": "end"},
        gates=[{"kind": "error_rate", "margin": 0.05}, {"kind": "agreement", "min_rate": 0.7}],
        bake_time="{{ params.bake_time }}",
    )
    RolloutOperator(
        task_id="canary",
        model=shadow.output["model"],
        strategy={"kind": "canary", "steps": [0.25, 1.0]},
        gates=[{"kind": "error_rate", "margin": 0.05}],
        bake_time="{{ params.bake_time }}",
    )
