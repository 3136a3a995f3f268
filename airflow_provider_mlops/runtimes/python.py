"""A runtime in another Python interpreter on the same machine, whose environment need not contain Airflow."""

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

from typing_extensions import override

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.step import Result, Spec, Step
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.runtimes.contract import LogLines, parse_outcome, request_for
from airflow_provider_mlops.runtimes.process import die_with_parent, read_until_end
from airflow_provider_mlops.runtimes.runtime import Runtime

log = logging.getLogger(__name__)

# The environment of a task contains Airflow's settings and secrets. A step only gets the variables that it needs.
_INHERITED = (
    *("PATH", "HOME", "USER", "LANG", "LC_*", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "OMP_NUM_THREADS"),
    *("*_CA_BUNDLE", "SSL_CERT_*", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)


class PythonRuntime(Runtime):
    """Runs the step as `python -m airflow_provider_mlops.lifecycle` under another interpreter.

    The process gets the step's spec and the secrets of its connections, but not Airflow's environment. It is killed
    whenever the task is killed, even with SIGKILL.

    Parameters
    ----------
    python
        Path of the interpreter, for example `/opt/training/bin/python`. This package must be installed there; Airflow
        need not be.
    environment
        Additional environment variables for the process. Anyone who can see the DAG can see their values, so put
        secrets into connections instead.
    pass_environment
        Names of environment variables that the process inherits from the worker, such as `("AWS_*",)`. Their values are
        never shown.

    Examples
    --------
    >>> PythonRuntime("/opt/training/bin/python", pass_environment=("AWS_*",))
    PythonRuntime(python='/opt/training/bin/python', environment={}, pass_environment=('AWS_*',))
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

    @override
    def run(self, step: Step[Any, Any], spec: Spec, workspace: Workspace) -> Result:
        if not (os.path.isfile(self.python) and os.access(self.python, os.X_OK)):
            raise InvalidSpecError(
                "runtime.python", self.python, "it must be the path of an executable Python interpreter on the worker"
            )
        with tempfile.TemporaryDirectory(prefix="mlops-step-") as directory:
            request, result = Path(directory, "request.json"), Path(directory, "result.json")
            request.write_text(json.dumps(request_for(step, spec, workspace)))
            # Without -P, files in the worker's current directory could hide modules of the interpreter.
            command = [self.python, "-P", "-m", "airflow_provider_mlops.lifecycle", str(request), str(result)]
            log.info("Running the step %s with %s", step.name, self.python)
            lines = LogLines()
            code = self._run_process(command, workspace, lines)
            if not result.exists():
                raise self._explain_missing_result(step, code, lines.last)
            return parse_outcome(step, json.loads(result.read_text()))

    @override
    def kill(self) -> None:
        process = self._process
        if process is not None and process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def process_environment(self, workspace: Workspace) -> dict[str, str]:
        """Return all environment variables of the process."""
        patterns = (*_INHERITED, *self.pass_environment)
        passed = {
            name: value
            for name, value in os.environ.items()
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
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
            # A new process group, so that processes that the step starts can be killed with it.
            start_new_session=True,
            preexec_fn=die_with_parent(os.getpid()),
        )
        self._process = process
        try:
            read_until_end(process, lines.feed)
            return process.wait()
        finally:
            self.kill()
            # Processes that outlive the step still belong to its group.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            lines.end()
            if process.stdout is not None:
                process.stdout.close()

    def _explain_missing_result(self, step: Step[Any, Any], code: int, last_line: str) -> Exception:
        if "No module named" in last_line and "airflow_provider_mlops" in last_line:
            return InvalidSpecError(
                "runtime.python",
                self.python,
                "airflow-provider-mlops is not installed for this interpreter. "
                f"Run {self.python} -m pip install airflow-provider-mlops",
            )
        ended = f"was killed by signal {-code}" if code < 0 else f"exited with code {code}"
        return RuntimeError(
            f"The step {step.name} {ended} without a result. The last line of its log is: {last_line or '(none)'}"
        )
