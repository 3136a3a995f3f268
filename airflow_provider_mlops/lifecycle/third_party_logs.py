"""The loggers of third-party libraries: only their warnings appear in a step's log."""

from __future__ import annotations

import logging
import os

_VERBOSE = ("mlflow", "alembic", "great_expectations")
# This logger sets its own level when it is imported, so it needs a filter.
_SETS_OWN_LEVEL = "great_expectations.data_context.types.base"


def quiet_third_party_loggers() -> None:
    """Let libraries log only warnings, through the same handlers as the step. Call this before the step runs.

    By default MLflow writes to standard error, which Airflow shows as errors, Great Expectations logs every function
    that it has not documented, and Alembic logs every migration of a new database.
    """
    # MLflow reads this when it is imported; the loop covers processes that have imported it already.
    os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")
    for name in _VERBOSE:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(max(logger.level, logging.WARNING))
    logging.getLogger(_SETS_OWN_LEVEL).addFilter(_is_warning)


def _is_warning(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING
