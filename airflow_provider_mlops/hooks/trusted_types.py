"""The types that may be constructed when a model is loaded: `[mlops] trusted_types`."""

from __future__ import annotations

from airflow.providers.common.compat.sdk import conf


def trusted_types() -> tuple[str, ...]:
    """Return the dotted names from Airflow's configuration, which are separated by commas."""
    configured: str = conf.get("mlops", "trusted_types", fallback="") or ""
    return tuple(name.strip() for name in configured.split(",") if name.strip())
