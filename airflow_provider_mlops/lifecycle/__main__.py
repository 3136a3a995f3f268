"""Run one step in this process: `python -m airflow_provider_mlops.lifecycle REQUEST RESULT`.

REQUEST is a JSON file with `step`, `spec`, `workspace` and the `version` of the package that started this process. The
outcome is written to RESULT: `{"result": ...}`, `{"error": ...}` with an error of `airflow_provider_mlops.errors`, or
`{"defect": ...}`. Both may be URIs of any fsspec scheme. Logs are written to standard output, one JSON object per
line. Secrets are read from the environment. The exit code is 0 for a result, 1 for a known error, and 2 for a defect.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

from typing_extensions import override

from airflow_provider_mlops import __version__
from airflow_provider_mlops.data import storage
from airflow_provider_mlops.errors import BY_NAME, InvalidSpecError, MlopsError
from airflow_provider_mlops.lifecycle.step import load
from airflow_provider_mlops.lifecycle.third_party_logs import quiet_third_party_loggers
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.registry.telemetry import disable_telemetry

log = logging.getLogger("airflow_provider_mlops.lifecycle")


class JsonLines(logging.Formatter):
    """A formatter that writes each record as one line of JSON, so that the runtime can log it again at its level."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        if record.exc_info:
            message = f"{message}\n{self.formatException(record.exc_info)}"
        return json.dumps({"level": record.levelname, "logger": record.name, "message": message})


def run_step(request: dict[str, Any]) -> dict[str, Any]:
    """Run the step that `request` describes and return what goes into the result file."""
    if request.get("version") != __version__:
        log.warning(
            "This environment has airflow-provider-mlops %s, but the one that started the step has %s. Install the "
            "same version in both.",
            __version__,
            request.get("version"),
        )
    try:
        step = load(request["step"])
        workspace = Workspace.model_validate(request["workspace"])
        step.check_extras()
        result = step.run(step.parse(request["spec"]), workspace)
    except MlopsError as error:
        error_type = next((base for base in type(error).__mro__ if BY_NAME.get(base.__name__) is base), None)
        if error_type is None:
            return _defect(error)
        return {"error": {"type": error_type.__name__, "args": json.loads(json.dumps(error.args, default=repr))}}
    except Exception as error:
        return _defect(error)
    return {"result": result.model_dump(mode="json")}


def read_request(uri: str) -> dict[str, Any]:
    """Read the description of a step to run.

    Raises
    ------
    InvalidSpecError
        If there is no such file, or it does not describe a step.
    """
    try:
        request = json.loads(storage.read_text(uri))
    except FileNotFoundError:
        raise InvalidSpecError("request", uri, "there is no such file. Check the path") from None
    except ValueError as error:
        raise InvalidSpecError("request", uri, f"the file must be JSON ({error})") from None
    missing = [key for key in ("step", "spec", "workspace") if not isinstance(request, dict) or key not in request]
    if missing:
        raise InvalidSpecError("request", uri, f"the file must be a JSON object with {', '.join(missing)}")
    return dict(request)


def _defect(error: Exception) -> dict[str, Any]:
    log.exception("The step failed with an unexpected error")
    return {"defect": {"type": type(error).__name__, "message": str(error)}}


def main(arguments: list[str]) -> int:
    """Run the command and return its exit code."""
    if len(arguments) != 2:
        sys.stderr.write("usage: python -m airflow_provider_mlops.lifecycle REQUEST RESULT\n")
        return 2
    request_uri, result_uri = arguments
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
    quiet_third_party_loggers()
    disable_telemetry()
    try:
        request = read_request(request_uri)
    except InvalidSpecError as error:
        sys.stderr.write(f"python -m airflow_provider_mlops.lifecycle: {error}\n")
        return 2
    outcome = run_step(request)
    storage.write_text(result_uri, json.dumps(outcome))
    return 0 if "result" in outcome else 1 if "error" in outcome else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
