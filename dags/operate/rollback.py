"""
### Rollback: return to the previous champion, or to a version that you name

Start it by hand, and fill in the form. Without a version, the champion before the present one answers requests again;
if a rollout of the model is in progress, it is rolled back instead, and the champion stays. Your reason is kept in the
audit trail: `airflow-mlops audit MODEL` prints it.
"""

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_provider_mlops.operators.rollback import RollbackModelOperator

with DAG(
    dag_id="operate_rollback",
    description="Return to the previous champion, or to a version that you name",
    doc_md=__doc__,
    schedule=None,
    params={
        "model_name": Param("churn", type="string", minLength=1, title="Model"),
        "version": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="Version",
            description="Version to return to. Leave it empty for the one before.",
        ),
        "reason": Param(
            "", type="string", minLength=1, title="Reason", description="Why you roll back, for the audit trail."
        ),
    },
    default_args={"retries": 2, "retry_delay": timedelta(seconds=10)},
    render_template_as_native_obj=True,
    max_active_runs=1,
    tags=["mlops", "operate"],
):
    RollbackModelOperator(
        task_id="rollback",
        model_name="{{ params.model_name }}",
        to_version="{{ params.version }}",
        # With text around it, a reason such as "42" stays text.
        reason="by hand: {{ params.reason }}",
    )
