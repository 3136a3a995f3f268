"""Connections to MLflow and to the serving gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_mlops.lazy import lazy_names

if TYPE_CHECKING:
    from airflow_provider_mlops.hooks.gateway import MlopsGatewayHook
    from airflow_provider_mlops.hooks.mlflow import MlflowHook

__all__ = [
    "MlflowHook",
    "MlopsGatewayHook",
]

if not TYPE_CHECKING:  # A type checker would accept every name from a package that has __getattr__.
    __getattr__ = lazy_names(
        __name__,
        {
            "MlflowHook": "mlflow",
            "MlopsGatewayHook": "gateway",
        },
    )
