"""
### Your own people first: a cohort, then 10% and 100% of everyone else

The requests of a cohort get the challenger before anyone else does. By default, these are the customers of one city, by
a column of the request; name a header such as `X-Group` and the value `staff` in the form if a proxy marks your own
people. The cohort is judged by fixed limits and never compared with the champion, because it was not chosen at random.
It keeps the challenger in the later steps.
"""

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_provider_mlops.operators.rollout import RolloutOperator
from airflow_provider_mlops.sensors.endpoint_healthy import EndpointHealthySensor
from airflow_provider_mlops.sensors.model_version import ModelVersionSensor

with DAG(
    dag_id="rollout_own_people_first",
    description="Release the challenger to a cohort, then to 10% and 100% of all other requests",
    doc_md=__doc__,
    schedule=None,
    params={
        "model_name": Param("churn", type="string", title="Model", description="Has a champion and a challenger."),
        "source": Param("field", enum=["header", "field"], title="Cohort by", description="Header or model column."),
        "name": Param("city", type="string", title="Header or column", description="For example X-Group or city."),
        "values": Param(["Zürich"], type="array", title="Values", description="One per line, such as staff and beta."),
        "min_requests": Param(50, type="integer", minimum=1, title="Requests", description="Minimum of the cohort."),
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
    # A rollout that starts during an incident would be blamed for it.
    healthy = EndpointHealthySensor(
        task_id="healthy", model_name="{{ params.model_name }}", consecutive_checks=1, poke_interval=5, timeout=600
    )
    healthy >> RolloutOperator(
        task_id="rollout",
        model=challenger.output,
        cohort={
            "source": "{{ params.source }}",
            "name": "{{ params.name }}",
            "values": "{{ params['values'] }}",
            "min_requests": "{{ params.min_requests }}",
            "gates": [{"kind": "error_rate", "max_rate": 0.1}, {"kind": "latency", "max_latency_ms": 500}],
        },
        strategy={"kind": "canary", "steps": [0.1, 1.0]},
        gates=[{"kind": "error_rate", "margin": 0.05}, {"kind": "latency", "max_latency_ms": 500}],
        bake_time="{{ params.bake_time }}",
        on_inconclusive="ask",
    )
