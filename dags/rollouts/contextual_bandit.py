"""
### Contextual bandit: the version that suits this request

Each version may be the better one for some requests. Linear Thompson sampling learns what a prediction earns in each
segment of customers, and chooses a version per request. The probability of each choice is logged, so that you can
estimate afterwards what another policy would have earned. The rollout ends when one version is the best on average.
"""

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_provider_mlops.operators.rollout import RolloutOperator
from airflow_provider_mlops.sensors.model_version import ModelVersionSensor

with DAG(
    dag_id="rollout_contextual_bandit",
    description="Choose a version for each request, based on the columns of the request",
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
        strategy={
            "kind": "contextual_bandit",
            "features": [{"kind": "category", "name": "segment", "values": ["new", "loyal", "business"]}],
        },
        reward={"source": "correct"},
        gates=[{"kind": "error_rate", "margin": 0.05}],
        bake_time="{{ params.bake_time }}",
    )
