"""
### A/B: which version is better for the business?

Each user gets one of the two versions, and always the same one, by the header `X-User-Id`. What
decides is no metric of the model but a reward that comes back for each answer: a click, a sale, a
payment that did not bounce. How many of them the test needs follows from the smallest effect worth
finding; with so many and no decision, the champion stays.

Send a reward to `POST /feedback` as `{"prediction_id": ..., "reward": 1}`, whenever it is known.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_provider_mlops.operators.rollout import RolloutOperator
from airflow_provider_mlops.sensors.enough_feedback import EnoughFeedbackSensor
from airflow_provider_mlops.sensors.model_version import ModelVersionSensor

PARAMS = {
    "model_name": Param(
        "level_1",
        type="string",
        minLength=1,
        title="Model",
        description_md="The registered model. It must have a champion that answers at the gateway.",
    ),
    "alias": Param(
        "challenger",
        type=["string", "null"],
        title="Alias of the candidate",
        description_md="Of the version to try. `challenger` is what `validate` has approved; empty for the newest one.",
    ),
    "check_interval": Param(
        30,
        type="number",
        minimum=0,
        title="Look every (s)",
        description_md="How often the evidence is looked at.",
    ),
    "bake_time": Param(
        300,
        type="number",
        minimum=0,
        title="Bake time (s)",
        description_md="How long each step lasts at least.",
    ),
    "min_effect": Param(
        0.05,
        type="number",
        minimum=0.001,
        title="Smallest effect",
        description_md="The difference of the mean reward that is worth finding.",
    ),
    "baseline": Param(
        0.5,
        type="number",
        minimum=0.001,
        title="Champion's rate",
        description_md="The share of rewarded answers as it is known before.",
    ),
}

with DAG(
    dag_id="rollout_ab_test",
    schedule=None,
    params=PARAMS,
    # A task that is tried again joins the rollout that it has begun.
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
    doc_md=__doc__,
    tags=["mlops", "rollout"],
    # Lets "{{ params.min_requests }}" stay a number.
    render_template_as_native_obj=True,
    max_active_runs=1,
) as dag:
    candidate = ModelVersionSensor(
        task_id="candidate",
        model_name="{{ params.model_name }}",
        alias="{{ params.alias }}",
        poke_interval=5,
        timeout=60,
        doc_md="The **version** that is to be tried.",
    )
    rewards_come = EnoughFeedbackSensor(
        task_id="rewards_come",
        model_name="{{ params.model_name }}",
        min_rewards=20,
        poke_interval=5,
        timeout=600,
        doc_md="A test without rewards would never end: see first that they **arrive**.",
    )

    rollout = RolloutOperator(
        task_id="rollout",
        model=candidate.output,
        strategy={
            "kind": "ab",
            "min_effect": "{{ params.min_effect }}",
            "baseline": "{{ params.baseline }}",
        },
        sticky={"source": "header", "name": "X-User-Id"},
        reward={"source": "reward", "binary": True},
        gates=[{"kind": "metric", "goal": "superior"}],
        bake_time="{{ params.bake_time }}",
        decision_timeout="P14D",
        check_interval="{{ params.check_interval }}",
        reason="Example: A/B test",
        doc_md="Half of the **users** each, until the reward decides.",
    )
    rewards_come >> rollout
