"""Airflow's API server in the process of the tests, and tokens for its users."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def api_server(airflow_database: None) -> Iterator[object]:
    from airflow.api_fastapi.app import create_app, purge_cached_app
    from fastapi.testclient import TestClient

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS", "False")
        patch.setenv(
            "AIRFLOW__API_AUTH__JWT_SECRET", "a secret that is long enough for the algorithm, which wants 64 bytes"
        )
        purge_cached_app()
        with TestClient(create_app(apps="core"), base_url="http://testserver") as client:
            yield client
    purge_cached_app()


def token_of(role: str | None) -> str:
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    return get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="ada", role=role))
