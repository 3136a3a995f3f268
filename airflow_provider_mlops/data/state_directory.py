"""The directory for state that has to be on this machine's disk, such as a write-ahead log."""

from __future__ import annotations

import hashlib
import os

from airflow_provider_mlops.data import storage


def state_path(storage_uri: str, name: str) -> str:
    """Return the local path of the state called `name` that belongs to a storage URI.

    Under local storage, the state is part of the storage. State of remote storage is kept in the user's state directory
    (`$XDG_STATE_HOME`, by default `~/.local/state`), apart for each storage URI.

    >>> state_path("/data/mlops", "rollouts.db")
    '/data/mlops/rollouts.db'
    """
    if storage.is_local(storage_uri):
        return os.path.join(storage.local_path(storage_uri), name)
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    key = hashlib.sha256(storage_uri.rstrip("/").encode()).hexdigest()[:16]
    return os.path.join(state, "airflow-mlops", key, name)
