"""The Airflow plugin: it serves the reports and Data Docs that tasks have written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowPlugin

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


class FilesApp:
    """An ASGI app that is created at the first request, because every process loads plugins but few serve them."""

    def __init__(self) -> None:
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if self._app is None:
            from airflow_provider_mlops.plugin.files import create_app

            self._app = create_app()
        await self._app(scope, receive, send)


class MlopsPlugin(AirflowPlugin):
    """Serves `{base_url}/mlops/files/{dag_id}/{path}` to users who may read the DAG."""

    name = "mlops"
    fastapi_apps: list[Any] = [  # noqa: RUF012 - Airflow declares it so
        {"name": "MLOps files", "app": FilesApp(), "url_prefix": "/mlops"}
    ]
