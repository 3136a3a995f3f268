"""
### Shadow: the candidate answers copies, and nobody sees it

Callers get the champion's answers. The candidate gets a copy of each request after the answer has
gone out, so it can be as slow or as broken as it likes. Its answers are logged and compared: how
often it says the same, how fast, with how many errors. Once that is good enough, a second task
shows it to a part of the callers, step by step.

Use it for a version that has never met real traffic.
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
    "agreement": Param(
        0.9,
        type="number",
        minimum=0,
        title="Agreement",
        description_md="The share of rows on which both versions must say the same.",
    ),
}

with DAG(
    dag_id="rollout_shadow_then_canary",
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
    shadow = RolloutOperator(
        task_id="shadow",
        model=candidate.output,
        strategy={"kind": "shadow", "on_success": "end"},
        gates=[
            {"kind": "error_rate", "margin": 0.02},
            {"kind": "agreement", "min_rate": "{{ params.agreement }}"},
        ],
        bake_time="{{ params.bake_time }}",
        min_requests="{{ params.min_requests }}",
        check_interval="{{ params.check_interval }}",
        reason="Example: shadow",
        doc_md="**Copies** of the traffic. Ends without promoting: nobody has seen the version yet.",
    )

    canary = RolloutOperator(
        task_id="canary",
        model=shadow.output["model"],
        strategy={"kind": "canary", "steps": [0.25, 1.0]},
        gates=[{"kind": "error_rate", "margin": 0.05}],
        bake_time="{{ params.bake_time }}",
        min_requests="{{ params.min_requests }}",
        check_interval="{{ params.check_interval }}",
        reason="Example: canary after shadow",
        doc_md="Now **callers** see it: a quarter of them, then all.",
    )
