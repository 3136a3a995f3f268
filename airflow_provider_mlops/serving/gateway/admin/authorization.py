"""Authorization of requests by the gateway's token."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_provider_mlops.serving.gateway.admin import token
from airflow_provider_mlops.serving.rows.request_error import RequestError


def require(headers: Mapping[bytes, bytes], expected: str) -> None:
    """Check that a request's headers contain the token. Raises RequestError (401)."""
    header = headers.get(b"authorization")
    if not token.matches(None if header is None else header.decode("latin-1"), expected):
        problem = "This request requires a token." if header is None else "The token is wrong."
        raise RequestError(
            401,
            f"{problem} Send the header `Authorization: Bearer TOKEN`.",
            "Authorization",
            WWW_Authenticate="Bearer",
        )
