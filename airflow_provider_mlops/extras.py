"""The extras of this package and the modules that they bring, so that a step can name the extra that is missing.

The base installation only has what Airflow needs to parse DAGs, to show links and to wait with sensors. Everything that
reads rows, trains or serves comes with an extra; `pyproject.toml` lists their distributions.
"""

from __future__ import annotations

import importlib.util

from airflow_provider_mlops.errors import MissingExtraError

MODULES: dict[str, tuple[str, ...]] = {
    "data": ("duckdb", "ibis", "numpy", "pandas", "pyarrow"),
    "validation": ("great_expectations",),
    "train": ("alembic", "scipy", "sklearn", "skops"),
    "tune": ("optuna",),
    "fairness": ("fairlearn",),
    "reports": ("matplotlib",),
    "grpc": ("grpc",),
    "serving": ("httptools", "orjson", "prometheus_client", "starlette", "uvicorn"),
}
"""The modules that each extra adds to those of the extras that it includes."""

INCLUDES: dict[str, tuple[str, ...]] = {
    "validation": ("data",),
    "train": ("data",),
    "tune": ("train",),
    "fairness": ("train",),
    "serving": ("train",),
    "grpc": ("serving",),
}
"""The extras that an extra includes."""


def require(subject: str, *extras: str) -> None:
    """Check that extras are installed in this environment.

    Parameters
    ----------
    subject
        What needs them, at the beginning of a sentence: `The step train`.
    *extras
        Names of extras, such as `train`.

    Raises
    ------
    MissingExtraError
        If a module of one of them, or of an extra that it includes, is not installed.

    Examples
    --------
    >>> require("The step extract", "data")
    """
    for extra in extras:
        missing = missing_modules(extra)
        if missing:
            raise MissingExtraError(subject, extra, missing[0])


def missing_modules(extra: str) -> list[str]:
    """Return the modules of an extra, and of those that it includes, that are not installed here.

    >>> missing_modules("data")
    []
    """
    names = [*(name for included in INCLUDES.get(extra, ()) for name in missing_modules(included))]
    return names + [name for name in MODULES[extra] if importlib.util.find_spec(name) is None]
