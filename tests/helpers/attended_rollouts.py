"""Rollouts in a running installation: their models, tasks and states, and what people do to them."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from airflow_provider_mlops.data.task_identity import TaskIdentity
from airflow_provider_mlops.errors import BackendUnavailableError
from airflow_provider_mlops.registry import audit, models, promotion
from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.settings import RegistrySettings
from airflow_provider_mlops.serving.rollouts.attendance import Attendance, read_attendances
from airflow_provider_mlops.serving.rollouts.rollout import Rollout, RolloutState
from airflow_provider_mlops.serving.rollouts.store import RolloutStore, default_url
from demo.airflow_api import AirflowApi
from demo.sessions import end_sessions, members
from demo.stack import Stack
from tests.helpers.serving.served_registry import CANCER, cancer_model, register

PATIENCE = 240.0
"""Seconds to wait for anything: the machine may be busy."""


def wait_for(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """Wait until a condition has a true value, and return the value."""
    until = time.monotonic() + seconds
    while True:
        # A component that is restarted, or a busy machine, may let a request fail.
        with contextlib.suppress(httpx.HTTPError, BackendUnavailableError):
            if value := condition():
                return value
        if time.monotonic() > until:
            raise AssertionError(f"not true within {seconds:g} s: {what}")
        time.sleep(0.5)


class AttendedRollouts:
    """The rollouts of an installation. Each has a model of its own, whose version 1 is champion."""

    def __init__(self, stack: Stack, airflow: AirflowApi) -> None:
        self.stack, self.airflow = stack, airflow
        # The sessions of `airflow standalone` and of what was started after it.
        self._leaders = [stack.airflow.pid]
        self.registry = Registry(RegistrySettings(str(stack.storage), stack.mlflow_url))
        self.store = RolloutStore(default_url(str(stack.storage)))
        self._source = register(self.registry, "attended", cancer_model(1.0), CANCER, "attended")

    def close(self) -> None:
        """End what `restart` has started."""
        end_sessions(self._leaders[1:], 10)
        self.store.close()

    def start(self, model: str, dag_id: str, **params: Any) -> AttendedRollout:
        """Make a model, and trigger a run of a DAG that rolls its version 2 out."""
        model = f"{model}-{secrets.token_hex(2)}"
        client = self.registry.client
        first = client.get_model_version("attended", str(self._source.version))
        client.create_registered_model(model)
        for _ in range(2):
            client.create_model_version(
                model, first.source, first.run_id, model_id=first.source.removeprefix("models:/")
            )
        author = TaskIdentity(dag_id="attended", run_id=model, task_id="deploy")
        promotion.promote(self.registry, models.get(self.registry, model, 1), expected=None, by=author, reason="")
        wait_for(lambda: self.airflow.get(f"/dags/{dag_id}"), f"Airflow knows the DAG {dag_id}")
        run_id: str = wait_for(
            lambda: self.airflow.trigger(dag_id, {"model_name": model, **params}), f"a run of {dag_id} has started"
        )
        return AttendedRollout(self, model, dag_id, run_id)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `airflow-mlops` as a user does in a shell."""
        program = str(Path(sys.executable).parent / "airflow-mlops")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "MLFLOW"))}
        environment = {
            **clean,
            "AIRFLOW_MLOPS_STORAGE_URI": str(self.stack.storage),
            "MLFLOW_TRACKING_URI": self.stack.mlflow_url,
        }
        return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=120, env=environment)

    def restart(self, component: str, number: signal.Signals = signal.SIGTERM) -> None:
        """End a component of `airflow standalone`, which does not start it again, and start another one."""
        pids = [pid for pid in members(self._leaders) if component in _command(pid)]
        assert pids, f"no process of {component}"
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        wait_for(lambda: not any(map(_alive, pids)), f"{component} has ended", 60)
        log = (self.stack.home.path / "logs" / f"{component}.log").open("ab")
        program = str(Path(sys.executable).parent / "airflow")
        process = subprocess.Popen(
            [program, component],
            env=self.stack.airflow.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._leaders.append(process.pid)
        self.stack.home.remember(process.pid)


class AttendedRollout:
    """One rollout, its task and its model."""

    def __init__(self, site: AttendedRollouts, model: str, dag_id: str, run_id: str) -> None:
        self.site, self.model, self.dag_id, self.run_id = site, model, dag_id, run_id
        self.path = f"/dags/{dag_id}/dagRuns/{run_id}"
        self.id = ""

    def wait_for_start(self, *task_states: str) -> AttendedRollout:
        """Wait until the rollout has started and its task waits."""

        def found() -> Rollout | None:
            assert self.task()["state"] != "failed", self.log()
            return self.site.store.current(self.model)

        rollout = wait_for(found, f"the rollout of {self.model} has started")
        self.id = rollout.id
        if self.wait_for_task(*task_states)["state"] == "deferred":
            # What happens to a task before its trigger runs is noticed only by `unattended_timeout`.
            wait_for(lambda: re.search(r"\(ID \d+\) starting", self.log()), f"the trigger of {self.model} runs")
        return self

    def wait_for_task(self, *states: str) -> dict[str, Any]:
        """Wait until the task is in one of the states, and return the task instance."""

        def found() -> dict[str, Any] | None:
            task = self.task()
            return task if task["state"] in states else None

        result: dict[str, Any] = wait_for(found, f"the task of {self.model} is {' or '.join(states)}: {self.task()}")
        return result

    def task(self) -> dict[str, Any]:
        return self.site.airflow.get(f"{self.path}/taskInstances/rollout")

    def rollout(self) -> Rollout:
        return self.site.store.get(self.id)

    def wait_for_status(self, status: str) -> RolloutState:
        state: RolloutState = wait_for(
            lambda: state if (state := self.rollout().state).status == status else None,
            f"the rollout of {self.model} is {status}: {self.rollout().state}",
        )
        return state

    def last_check(self) -> Attendance:
        return read_attendances(self.site.store)[self.id]

    def wait_for_checks(self, count: int = 2) -> None:
        """Wait until the task has checked the rollout a few times from now on."""
        for _ in range(count):
            before = self.last_check()
            wait_for(lambda seen=before: self.last_check() != seen, f"the task checks the rollout of {self.model}")

    def mark(self, state: str) -> None:
        self.site.airflow.patch(f"{self.path}/taskInstances/rollout", {"new_state": state})

    def clear(self) -> None:
        self.site.airflow.post(
            f"/dags/{self.dag_id}/clearTaskInstances",
            {
                "dry_run": False,
                "dag_run_id": self.run_id,
                "task_ids": ["rollout"],
                "only_failed": False,
                "reset_dag_runs": True,
            },
        )

    def log(self) -> str:
        """The log of all tries of the task."""
        directory = self.site.stack.home.path / "airflow" / "logs" / f"dag_id={self.dag_id}" / f"run_id={self.run_id}"
        return "\n".join(path.read_text() for path in sorted(directory.rglob("*.log*")))

    def links(self) -> dict[str, str]:
        """The buttons of the task that the UI shows."""
        links = self.site.airflow.get(f"{self.path}/taskInstances/rollout/links")["extra_links"]
        return {name: url for name, url in links.items() if url}

    def xcom(self, key: str) -> Any:
        return self.site.airflow.xcom(self.dag_id, self.run_id, "rollout", key)

    def report(self) -> str:
        """The report behind the button, as a browser with a session gets it."""
        token = httpx.get(f"{self.site.stack.airflow_url}/auth/token", timeout=30).json()["access_token"]
        response = httpx.get(self.links()["Report"], headers={"Authorization": f"Bearer {token}"}, timeout=30)
        return response.raise_for_status().text

    def trail(self) -> list[audit.AuditEntry]:
        """The audit trail after the entry that made version 1 the champion."""
        return audit.entries(self.site.registry, self.model)[1:]

    def actions(self) -> list[str]:
        return [entry.action for entry in self.trail()]

    def rollouts(self) -> list[str]:
        return [rollout.id for rollout in self.site.store.of_model(self.model)]


def _command(pid: int) -> list[str]:
    try:
        return [part for part in Path(f"/proc/{pid}/cmdline").read_text().split("\0") if part]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
