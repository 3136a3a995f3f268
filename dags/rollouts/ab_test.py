"""
### A/B test: which version earns more?

Each user gets one of the two versions, always the same one, by the header `X-User-Id`. A reward for each prediction
decides, such as a sale: send it to `POST /feedback` as `{"prediction_id": "…", "reward": 1}`. The number of rewards it
takes follows from `min_effect`: here, 3 points more than the 77% of the predictions for which the champion is rewarded.
"""

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_provider_mlops.operators.rollout import RolloutOperator
from airflow_provider_mlops.sensors.enough_feedback import EnoughFeedbackSensor
from airflow_provider_mlops.sensors.model_version import ModelVersionSensor

with DAG(
    dag_id="rollout_ab_test",
    description="Compare the rewards of champion and challenger, each on half of the users",
    doc_md=__doc__,
    schedule=None,
    params={
        "model_name": Param("churn", type="string", title="Model", description="Has a champion and a challenger."),
        "bake_time": Param(30, type="number", minimum=0, title="Bake time", description="Minimum seconds of the test."),
    },
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
    render_template_as_native_obj=True,
    max_active_runs=1,
    tags=["mlops", "rollout"],
):
    challenger = ModelVersionSensor(
        task_id="challenger", model_name="{{ params.model_name }}", alias="challenger", poke_interval=5, timeout=60
    )
    rewards = EnoughFeedbackSensor(
        task_id="rewards", model_name="{{ params.model_name }}", min_rewards=20, poke_interval=5, timeout=600
    )
    rewards >> RolloutOperator(
        task_id="rollout",
        model=challenger.output,
        strategy={"kind": "ab", "baseline": 0.77, "min_effect": 0.03},
        sticky={"source": "header", "name": "X-User-Id"},
        reward={"binary": True},
        gates=["metric"],
        bake_time="{{ params.bake_time }}",
    )
