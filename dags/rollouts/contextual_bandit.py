"""
### Contextual bandit: the version that suits this request

Two versions may each be the better one for some requests. Linear Thompson sampling learns what a
request of a certain segment and hour earns with each version, and gives it to the one that seems
better for it, or to the other one as often as needed to go on learning. Every choice is logged with
its probability, so that you can work out afterwards what any other policy would have earned
(`stats.off_policy`).

It ends when one version is the best for the average request, and goes on for as long as
`decision_timeout` otherwise: where different callers need different versions, no single one should
win.
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
    dag_id="rollout_contextual_bandit",
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
            "kind": "contextual_bandit",
            "algorithm": {"kind": "linear_thompson"},
            "features": [
                {"kind": "category", "name": "X-Segment", "source": "header", "values": ["new", "loyal"]},
                {"kind": "number", "name": "hour", "source": "hour", "center": 12, "scale": 6},
            ],
            "probability_limit": "{{ params.probability_limit }}",
        },
        reward={"source": "correct"},
        gates=[{"kind": "error_rate", "margin": 0.05}],
        bake_time="{{ params.bake_time }}",
        min_requests="{{ params.min_requests }}",
        decision_timeout="P7D",
        on_inconclusive="hold",
        check_interval="{{ params.check_interval }}",
        reason="Example: contextual bandit",
        doc_md="Each **request** to the version that seems better for it.",
    )
