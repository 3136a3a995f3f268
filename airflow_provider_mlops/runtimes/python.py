"""Another Python interpreter on the same machine, whose environment needs no Airflow."""

from __future__ import annotations

import fnmatch
import json
import logging
import os
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.step import Result, Spec, Step
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.runtimes.contract import LogLines, parse_outcome, request_for
from airflow_provider_mlops.runtimes.process import die_with_parent, read_until_end
from airflow_provider_mlops.runtimes.runtime import Runtime

log = logging.getLogger(__name__)

# The environment of a task holds Airflow's settings and secrets; a step gets only what a process needs to run.
_PASSED = (
    *("PATH", "HOME", "USER", "LANG", "LC_*", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "OMP_NUM_THREADS"),
    *("*_CA_BUNDLE", "SSL_CERT_*", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)


class PythonRuntime(Runtime):
    """Runs the step as `python -m airflow_provider_mlops.lifecycle` under another interpreter.

    The process gets the step's spec and the secrets of its connections, and nothing of Airflow's environment.
    It is killed when the task is killed, however that happens.

    :param python: the interpreter, e.g. `/opt/training/bin/python`. This package must be installed there; Airflow
        need not be.
    :param environment: further environment variables for the process. Values are visible to whoever can see
        the DAG: secrets belong into connections.
    :param pass_environment: names of environment variables of the worker that the process gets too, such as
        `("AWS_*",)`; their values appear nowhere.
    """

    template_fields = ("python", "environment", "pass_environment")

    def __init__(
        self,
        python: str,
        environment: dict[str, str] | None = None,
        pass_environment: tuple[str, ...] = (),
    ) -> None:
        self.python = python
        self.environment = environment or {}
        self.pass_environment = pass_environment
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, step: Step[Any, Any], spec: Spec, workspace: Workspace) -> Result:
        """Carry out the step in a process of its own."""
        if not (os.path.isfile(self.python) and os.access(self.python, os.X_OK)):
            raise InvalidSpecError("runtime.python", self.python, "name an interpreter that exists and can be executed")
        with tempfile.TemporaryDirectory(prefix="mlops-step-") as directory:
            request, result = Path(directory, "request.json"), Path(directory, "result.json")
            request.write_text(json.dumps(request_for(step, spec, workspace)))
            # Without -P the directory that the worker happens to be in could hide modules of the interpreter.
            command = [self.python, "-P", "-m", "airflow_provider_mlops.lifecycle", str(request), str(result)]
            log.info("Running the step %s under %s", step.name, self.python)
            lines = LogLines()
            code = self._run_process(command, workspace, lines)
            if not result.exists():
                raise self._no_result(step, code, lines.last)
            return parse_outcome(step, json.loads(result.read_text()))

    def kill(self) -> None:
        """Kill the process and what it has started, at once."""
        process = self._process
        if process is not None and process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def process_environment(self, workspace: Workspace) -> dict[str, str]:
        """All environment variables of the process."""
        wanted = (*_PASSED, *self.pass_environment)
        passed = {
            name: value
            for name, value in os.environ.items()
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in wanted)
        }
        own = {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
        return {**passed, **own, **self.environment, **workspace.environment()}

    def _run_process(self, command: list[str], workspace: Workspace, lines: LogLines) -> int:
        process = subprocess.Popen(
            command,
            env=self.process_environment(workspace),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # A group of its own, so that what it starts can be killed with it.
            start_new_session=True,
            preexec_fn=die_with_parent(os.getpid()),
        )
        self._process = process
        try:
            read_until_end(process, lines.feed)
            return process.wait()
        finally:
            self.kill()
            # Whatever outlives the step still belongs to its group.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            lines.end()
            if process.stdout is not None:
                process.stdout.close()

    def _no_result(self, step: Step[Any, Any], code: int, last_line: str) -> Exception:
        if "No module named" in last_line and "airflow_provider_mlops" in last_line:
            return InvalidSpecError(
                "runtime.python",
                self.python,
                "this package is not installed there: run `python -m pip install airflow-provider-mlops` with it",
            )
        ended = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return RuntimeError(
            f"the step {step.name} {ended} and left no result; its log is above, its last line: {last_line or 'none'}"
        )
