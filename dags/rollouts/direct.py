"""
### Direct: all traffic at once, and back at once

Blue and green: the candidate answers everything from the first moment, while the old version stays
in memory. There is no traffic left to compare with, so the gates hold the candidate against fixed
limits. It is taken back as soon as one of them is failed, or by the gateway itself within a second
when half of the requests fail.

Use it where a version was proven elsewhere and two answers at the same time would be worse than a
short risk.
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
    "max_ms": Param(
        250,
        type="number",
        minimum=1,
        title="Slowest answer (ms)",
        description_md="The 99th percentile of the latency must be below it.",
    ),
}

with DAG(
    dag_id="rollout_direct",
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
        strategy="direct",
        gates=[
            {"kind": "error_rate", "max_rate": 0.05},
            {"kind": "latency", "quantile": 0.99, "max_ms": "{{ params.max_ms }}"},
        ],
        bake_time="{{ params.bake_time }}",
        min_requests="{{ params.min_requests }}",
        check_interval="{{ params.check_interval }}",
        reason="Example: direct",
        doc_md="All requests to the candidate; **champion** once it has kept within its limits.",
    )
