"""Another Python interpreter on the same machine, whose environment needs no Airflow."""

from __future__ import annotations

import ctypes
import json
import logging
import os
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from airflow_provider_mlops.errors import BY_NAME, InvalidSpecError
from airflow_provider_mlops.lifecycle.step import Result, Spec, Step
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.runtimes.runtime import Runtime

log = logging.getLogger(__name__)

# The environment of a task holds Airflow's settings and secrets; a step gets only what a process needs to run.
_PASSED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "USER")


class PythonRuntime(Runtime):
    """Runs the step as `python -m airflow_provider_mlops.lifecycle` under another interpreter.

    :param python: the interpreter, e.g. `/opt/training/bin/python`. This package must be installed there; Airflow need not be.
    :param environment: further environment variables for the process. Values are visible to whoever can see
        the DAG: secrets belong into connections.
    """

    template_fields = ("python", "environment")

    def __init__(self, python: str, environment: dict[str, str] | None = None) -> None:
        self.python = python
        self.environment = environment or {}
        self._process: subprocess.Popen[str] | None = None

    def run(self, step: Step[Any, Any], spec: Spec, workspace: Workspace) -> Result:
        if not os.access(self.python, os.X_OK):
            raise InvalidSpecError("runtime.python", self.python, "name an interpreter that exists and can be executed")
        with tempfile.TemporaryDirectory(prefix="mlops-step-") as directory:
            request, result = Path(directory, "request.json"), Path(directory, "result.json")
            request.write_text(
                json.dumps(
                    {
                        "step": step.name,
                        "spec": spec.model_dump(mode="json"),
                        "workspace": workspace.model_dump(mode="json"),
                    }
                )
            )
            code = self._run_process(request, result, workspace)
            if not result.exists():
                raise RuntimeError(f"the step {step.name} ended with exit code {code} and left no result; its log is above")
            outcome = json.loads(result.read_text())
        if "error" in outcome:
            raise BY_NAME[outcome["error"]["type"]](*outcome["error"]["args"])
        parsed: Result = step.result.model_validate(outcome["result"])
        return parsed

    def kill(self) -> None:
        process = self._process
        if process is not None and process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)

    def _run_process(self, request: Path, result: Path, workspace: Workspace) -> int:
        environment = {name: os.environ[name] for name in _PASSED if name in os.environ}
        environment |= {name: value for name, value in os.environ.items() if name.endswith(("_CA_BUNDLE", "_CERT_FILE"))}
        environment |= {"PYTHONUNBUFFERED": "1", **self.environment, **workspace.environment()}
        command = [self.python, "-m", "airflow_provider_mlops.lifecycle", str(request), str(result)]
        log.info("Running the step under %s", self.python)
        with subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        ) as process:
            self._process = process
            try:
                assert process.stdout is not None
                for line in process.stdout:
                    log_again(line)
                return process.wait()
            finally:
                self.kill()


def log_again(line: str) -> None:
    """Log a line that a step printed in its own process, at the level that it had there."""
    try:
        record = json.loads(line)
        logging.getLogger(record["logger"]).log(logging.getLevelNamesMapping()[record["level"]], "%s", record["message"])
    except (ValueError, KeyError, TypeError):
        log.info("%s", line.rstrip())


def _die_with_parent() -> None:
    # A task killed with SIGKILL runs no handler, so the kernel has to end the step: PR_SET_PDEATHSIG is 1.
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
