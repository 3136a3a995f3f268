"""
### Multi-armed bandit: the more a version earns, the more traffic it gets

Thompson sampling: each version gets requests in proportion to the probability that it is the best
one, given the rewards so far. Nothing is lost on a version that is plainly worse, and the rollout
ends by giving everything to the winner when its probability of being the best passes a limit. Here
an answer earns 1 if the label that comes later is what it said.

Use it where rewards come soon, and where learning should cost as little as possible. Bandits take
several candidates at once.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_provider_mlops.operators.rollout import RolloutOperator
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
    "min_requests": Param(
        200,
        type="integer",
        minimum=0,
        title="Minimum of requests",
        description_md="How many requests the candidate must have had in each step.",
    ),
    "probability_limit": Param(
        0.99,
        type="number",
        minimum=0.5,
        title="Probability limit",
        description_md="How sure it must be that one version is the best.",
    ),
}

with DAG(
    dag_id="rollout_bandit",
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
    rollout = RolloutOperator(
        task_id="rollout",
        model=candidate.output,
        strategy={
            "kind": "bandit",
            "algorithm": {"kind": "thompson_beta"},
            "probability_limit": "{{ params.probability_limit }}",
        },
        reward={"source": "correct"},
        gates=[{"kind": "error_rate", "margin": 0.05}],
        bake_time="{{ params.bake_time }}",
        min_requests="{{ params.min_requests }}",
        decision_timeout="P7D",
        check_interval="{{ params.check_interval }}",
        reason="Example: bandit",
        doc_md="The traffic follows the **rewards**.",
    )
