"""Who a running task is."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from airflow_provider_mlops.data.lineage import TaskIdentity

if TYPE_CHECKING:
    from typing import Any

    from airflow.sdk import Context


def identify(context: Context) -> TaskIdentity:
    """The task that runs in this context."""
    instance = context["ti"]
    map_index = getattr(instance, "map_index", -1)
    retries = getattr(context["task"], "retries", None) or 0
    return TaskIdentity(
        dag_id=instance.dag_id,
        run_id=instance.run_id,
        task_id=instance.task_id,
        map_index=-1 if map_index is None else map_index,
        try_number=max(1, instance.try_number or 1),
        # Clearing a task gives it all its retries anew, counted from the tries that it has had.
        first_try=max(1, (getattr(instance, "max_tries", None) or 0) - retries + 1),
        owner=getattr(context["task"], "owner", None) or "airflow",
        logical_date=_date(context.get("logical_date")),
        interval_start=_date(context.get("data_interval_start")),
        interval_end=_date(context.get("data_interval_end")),
    )


def _date(value: Any) -> datetime | None:
    # Airflow's dates are proxies of pendulum's, which pydantic would refuse.
    return None if value is None else datetime.fromisoformat(value.isoformat())
