"""What the libraries below say in a step's log: their warnings, and nothing of their daily business."""

from __future__ import annotations

import logging
import os

_TALKATIVE = ("mlflow", "alembic", "great_expectations")
# Sets its own level when it is imported.
_HEADSTRONG = "great_expectations.data_context.types.base"


def quiet_third_party_loggers() -> None:
    """Let libraries log their warnings only, and through the same handlers as the step. Call it before the step.

    MLflow by itself writes to standard error, which Airflow shows as errors; Great Expectations tells of every
    function that it has not documented, and Alembic of every migration of a fresh database.
    """
    # Read when mlflow is imported; the loop is for a process which has it already.
    os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")
    for name in _TALKATIVE:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(max(logger.level, logging.WARNING))
    logging.getLogger(_HEADSTRONG).addFilter(_is_warning)


def _is_warning(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING
