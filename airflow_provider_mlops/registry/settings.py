"""The settings of a registry."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Self


@dataclass(frozen=True)
class RegistrySettings:
    """The address of MLflow and the credentials for it.

    Parameters
    ----------
    storage_uri
        URI of the storage for the audit trail and, unless a server decides otherwise, the artifacts.
    tracking_uri
        Address of the runs: `http(s)://...` or a SQLAlchemy URL. None selects the embedded default, the SQLite database
        `{storage_uri}/mlflow.db`.
    registry_uri
        Address of the models; by default the tracking URI.
    username
        User for basic authentication, with `password`. Without credentials, MLflow's own environment variables apply.
    password
        Password for basic authentication.
    token
        Bearer token, used if there is no username.
    trusted_types
        Types that may be constructed when a model is loaded, in addition to scikit-learn's own and approved ones.
    """

    storage_uri: str
    tracking_uri: str | None = None
    registry_uri: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    trusted_types: tuple[str, ...] = ()

    @classmethod
    def from_environment(
        cls,
        storage_uri: str,
        tracking_uri: str | None,
        registry_uri: str | None,
        trusted_types: tuple[str, ...] = (),
    ) -> Self:
        """Return settings with the credentials that MLflow's own environment variables hold."""
        return cls(
            storage_uri,
            tracking_uri,
            registry_uri,
            username=os.environ.get("MLFLOW_TRACKING_USERNAME"),
            password=os.environ.get("MLFLOW_TRACKING_PASSWORD"),
            token=os.environ.get("MLFLOW_TRACKING_TOKEN"),
            trusted_types=trusted_types,
        )
