"""
### Canary: a growing share of the traffic, with gates at each step

The candidate gets 10 %, then half, then all of the requests. Before each step its errors and its
latency are compared with the champion's on the traffic of the same time. The tests may be looked at
as often as you like; too little traffic is *inconclusive* and never counts as success. What cannot
be decided in time is put to a human, under *Required Actions*.

The usual way to bring a new version to users.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_provider_mlops.operators.rollout import RolloutOperator
from airflow_provider_mlops.sensors.endpoint_healthy import EndpointHealthySensor
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
    "decision_timeout": Param(
        3600,
        type="number",
        minimum=1,
        title="Decide within (s)",
        description_md="How long a step may take before a human is asked.",
    ),
}

with DAG(
    dag_id="rollout_canary",
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
    healthy = EndpointHealthySensor(
        task_id="healthy",
        model_name="{{ params.model_name }}",
        min_requests=20,
        consecutive_checks=1,
        poke_interval=5,
        timeout=600,
        doc_md="No rollout **into** an incident: the endpoint must be healthy before anything changes.",
    )

    rollout = RolloutOperator(
        task_id="rollout",
        model=candidate.output,
        strategy={"kind": "canary", "steps": [0.1, 0.5, 1.0]},
        gates=[
            {"kind": "error_rate", "margin": 0.05},
            {"kind": "latency", "quantile": 0.5, "ratio": 3.0},
        ],
        bake_time="{{ params.bake_time }}",
        min_requests="{{ params.min_requests }}",
        decision_timeout="{{ params.decision_timeout }}",
        check_interval="{{ params.check_interval }}",
        on_inconclusive="ask",
        reason="Example: canary",
        doc_md="10 %, 50 %, all; **back** to the champion as soon as a gate is failed.",
    )
    healthy >> rollout
