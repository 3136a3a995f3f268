"""The calls of Airflow's REST API that the demo and the system tests need."""

from __future__ import annotations

import time
from collections.abc import Callable
from graphlib import TopologicalSorter
from typing import Any, cast

import httpx

from demo.service import ServiceError

FINISHED = {"success", "failed", "skipped", "upstream_failed", "removed"}


class AirflowApi:
    """A client of `/api/v2` of an Airflow in which everyone is an administrator."""

    def __init__(self, url: str) -> None:
        token = httpx.get(f"{url}/auth/token", timeout=120).json()["access_token"]
        self._http = httpx.Client(base_url=f"{url}/api/v2", headers={"Authorization": f"Bearer {token}"}, timeout=120)

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        """Return the JSON at a path. Raises httpx.HTTPStatusError."""
        return cast("dict[str, Any]", self._http.get(path, params=query).raise_for_status().json())

    def patch(self, path: str, values: dict[str, Any]) -> None:
        """Change what is at a path. Raises httpx.HTTPStatusError."""
        self._http.patch(path, json=values).raise_for_status()

    def post(self, path: str, values: dict[str, Any]) -> None:
        """Send values to a path. Raises httpx.HTTPStatusError."""
        self._http.post(path, json=values).raise_for_status()

    def delete(self, path: str) -> None:
        """Delete what is at a path. Raises httpx.HTTPStatusError."""
        self._http.delete(path).raise_for_status()

    def wait_for_dag(self, dag_id: str, seconds: float) -> None:
        """Return when the DAG can be triggered.

        Raises ServiceError if a DAG file cannot be imported, TimeoutError if the DAG does not appear.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            response = self._http.get(f"/dags/{dag_id}")
            if response.is_success and not response.json()["is_stale"]:
                return
            for error in self.get("/importErrors")["import_errors"]:
                raise ServiceError(f"Airflow cannot import {error['filename']}:\n{error['stack_trace']}")
            time.sleep(0.5)
        raise TimeoutError(f"Airflow has not found the DAG {dag_id} within {seconds:.0f} s.")

    def trigger(self, dag_id: str, conf: dict[str, Any] | None = None) -> str:
        """Start a run of the DAG and return its id."""
        self._http.patch(f"/dags/{dag_id}", json={"is_paused": False}).raise_for_status()
        response = self._http.post(f"/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": conf or {}})
        return cast("str", response.raise_for_status().json()["dag_run_id"])

    def newest_run(self, dag_id: str) -> str:
        """Return the id of the run that started last."""
        runs = self.get(f"/dags/{dag_id}/dagRuns", order_by="-start_date", limit=1)["dag_runs"]
        return cast("str", runs[0]["dag_run_id"])

    def task_order(self, dag_id: str) -> list[str]:
        """Return the ids of the DAG's tasks, each after those that it depends on."""
        response = self.get(f"/dags/{dag_id}/tasks")["tasks"]
        upstream: dict[str, set[str]] = {task["task_id"]: set() for task in response}
        for task in response:
            for downstream in task["downstream_task_ids"]:
                upstream[downstream].add(task["task_id"])
        return list(TopologicalSorter(upstream).static_order())

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the task instances of a run."""
        return cast(
            "list[dict[str, Any]]", self.get(f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]
        )

    def wait_for_run(
        self, dag_id: str, run_id: str, seconds: float, on_change: Callable[[list[dict[str, Any]]], None] | None = None
    ) -> str:
        """Wait for the end of a run and return its state. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            state = cast("str", self.get(f"/dags/{dag_id}/dagRuns/{run_id}")["state"])
            if on_change is not None:
                on_change(self.tasks(dag_id, run_id))
            if state in ("success", "failed"):
                return state
            time.sleep(0.5)
        raise TimeoutError(f"The run {run_id} of {dag_id} has not ended within {seconds:.0f} s.")

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """Return a value that a task pushed."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        return self.get(path, deserialize=False, stringify=False)["value"]

    def log(self, dag_id: str, run_id: str, task: dict[str, Any]) -> str:
        """Return the log of the last try of a task instance as text."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task['task_id']}/logs/{max(task['try_number'], 1)}"
        response = self._http.get(
            path, params={"map_index": task["map_index"], "full_content": True}, headers={"Accept": "application/json"}
        )
        if not response.is_success:
            return response.text
        lines = []
        for entry in response.json()["content"]:
            if isinstance(entry, dict) and not str(entry.get("event", "")).startswith(("::group::", "::endgroup::")):
                lines.append(f"{entry.get('level', '')!s:8} {entry.get('event', '')}")
                lines.extend(_frames(detail) for detail in entry.get("error_detail") or ())
            elif not isinstance(entry, dict):
                lines.append(str(entry))
        return "\n".join(lines)


def _frames(detail: dict[str, Any]) -> str:
    """Return an exception of a task's log as Python would print it."""
    lines = [f'  File "{frame["filename"]}", line {frame["lineno"]}, in {frame["name"]}' for frame in detail["frames"]]
    return "\n".join([*lines, f"{detail['exc_type']}: {detail['exc_value']}"])
