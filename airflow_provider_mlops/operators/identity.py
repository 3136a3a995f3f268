"""The running task: who it is, and whether Airflow will try it again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from airflow_provider_mlops.data.task_identity import TaskIdentity
from airflow_provider_mlops.errors import BackendUnavailableError

if TYPE_CHECKING:
    from airflow.sdk import Context


def identify(context: Context) -> TaskIdentity:
    """Return the identity of the task that runs in this context."""
    instance = context["ti"]
    map_index = getattr(instance, "map_index", -1)
    retries = getattr(context["task"], "retries", None) or 0
    return TaskIdentity(
        dag_id=instance.dag_id,
        run_id=instance.run_id,
        task_id=instance.task_id,
        map_index=-1 if map_index is None else map_index,
        try_number=max(1, instance.try_number or 1),
        # A cleared task gets all its retries again, counted from the tries that it has already used.
        first_try=max(1, (getattr(instance, "max_tries", None) or 0) - retries + 1),
        owner=getattr(context["task"], "owner", None) or "airflow",
        logical_date=_to_datetime(context.get("logical_date")),
        interval_start=_to_datetime(context.get("data_interval_start")),
        interval_end=_to_datetime(context.get("data_interval_end")),
    )


@contextmanager
def report_retries(context: Context) -> Iterator[None]:
    """Let a BackendUnavailableError say that Airflow will retry, if the task has a try left."""
    try:
        yield
    except BackendUnavailableError as error:
        instance = context["ti"]
        error.will_retry = (instance.try_number or 1) <= (getattr(instance, "max_tries", None) or 0)
        raise


def _to_datetime(value: datetime | None) -> datetime | None:
    # Airflow's dates are proxies of pendulum's, which pydantic does not accept.
    return None if value is None else datetime.fromisoformat(value.isoformat())
