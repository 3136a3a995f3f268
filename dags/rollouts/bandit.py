"""
### Multi-armed bandit: the version that earns more gets more traffic

Thompson sampling gives each version the share of the requests that equals its probability of being the best, given the
rewards so far. Here, a prediction earns 1 if the label that arrives later confirms it. The rollout ends when one
version is certain to be the best. Use it if rewards arrive soon and learning should cost little.
"""

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_provider_mlops.operators.rollout import RolloutOperator
from airflow_provider_mlops.sensors.model_version import ModelVersionSensor

with DAG(
    dag_id="rollout_bandit",
    description="Send more requests to the version with higher rewards, until one version is clearly the best",
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
        strategy={"kind": "bandit", "algorithm": {"kind": "thompson_beta"}},
        reward={"source": "correct"},
        gates=[{"kind": "error_rate", "margin": 0.05}],
        bake_time="{{ params.bake_time }}",
    )
