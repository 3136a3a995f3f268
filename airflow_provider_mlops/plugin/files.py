"""The app that serves reports and Data Docs.

Airflow does not authenticate requests to a plugin. Here, each request requires a user who may read the DAG whose task
wrote the file, and only files that people read are served.
"""

from __future__ import annotations

import logging
import os

from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import Depends, FastAPI, HTTPException
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.hooks.storage import storage_uri
from airflow_provider_mlops.links.served import content_type, is_served

log = logging.getLogger(__name__)

# A report may contain anything that the data contained. In a sandbox without an origin, scripts cannot act as the user.
_HEADERS = {
    "Content-Security-Policy": "sandbox allow-scripts allow-popups; connect-src 'none'; form-action 'none'; "
    "frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private, no-cache",
}


def create_app() -> FastAPI:
    """Return the app, which has one route."""
    app = FastAPI(title="MLOps files", openapi_url=None)

    @app.get("/files/{dag_id}/{path:path}", dependencies=[Depends(requires_access_dag("GET"))])
    async def read_file(dag_id: str, path: str) -> Response:
        content = await run_in_threadpool(read, dag_id, path)
        return Response(content, media_type=content_type(path), headers=_HEADERS)

    return app


def read(dag_id: str, path: str) -> bytes:
    """Return the file's content. Raises HTTPException 404 if no such file may be served for the DAG."""
    root = storage_uri()
    uri = storage.join(root, path)
    if not is_served(dag_id, path) or (storage.is_local(root) and _leaves(storage.local_path(root), uri)):
        raise HTTPException(404, "No task of this DAG has written this page.")
    try:
        return storage.read_bytes(uri)
    except (FileNotFoundError, IsADirectoryError):
        raise HTTPException(404, "The page does not exist, or was deleted.") from None


def _leaves(root: str, uri: str) -> bool:
    """Return whether the path leaves the storage directory through a symbolic link."""
    path = os.path.realpath(storage.local_path(uri))
    return os.path.commonpath([os.path.realpath(root), path]) != os.path.realpath(root)
