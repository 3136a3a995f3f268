"""Run one step in this process: `python -m airflow_provider_mlops.lifecycle REQUEST RESULT`.

REQUEST is a JSON file with `step`, `spec` and `workspace`; RESULT is where `{"result": ...}` or
`{"error": ...}` is written. Both may be URIs of any fsspec scheme. Logs go to standard output, one
JSON object a line. Secrets are read from the environment. The exit code is 0 when a result was
written, 1 when a known error was, and anything else after a defect.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.errors import MlopsError
from airflow_provider_mlops.lifecycle.step import load
from airflow_provider_mlops.lifecycle.workspace import Workspace


class JsonLines(logging.Formatter):
    """One log record as one line of JSON, so that the other side can log it again at its level."""

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        if record.exc_info:
            message = f"{message}\n{self.formatException(record.exc_info)}"
        return json.dumps({"level": record.levelname, "logger": record.name, "message": message})


def carry_out(request: dict[str, Any]) -> dict[str, Any]:
    """Run the step that `request` describes and return what goes into the result file."""
    try:
        step = load(request["step"])
        workspace = Workspace.model_validate(request["workspace"])
        result = step.run(step.parse(request["spec"]), workspace)
    except MlopsError as error:
        return {"error": {"type": type(error).__name__, "args": json.loads(json.dumps(error.args, default=repr))}}
    return {"result": result.model_dump(mode="json")}


def main(arguments: list[str]) -> int:
    """The command line."""
    request_uri, result_uri = arguments
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    outcome = carry_out(json.loads(storage.read_text(request_uri)))
    storage.write_text(result_uri, json.dumps(outcome))
    return 1 if "error" in outcome else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
