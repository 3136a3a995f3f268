"""How a request shows that it comes from who holds the gateway's token."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_provider_mlops.serving.gateway.admin import token
from airflow_provider_mlops.serving.rows.request_error import RequestError


def require(headers: Mapping[bytes, bytes], expected: str) -> None:
    """Let a request pass whose headers carry the token. Raises RequestError (401)."""
    header = headers.get(b"authorization")
    if not token.matches(None if header is None else header.decode("latin-1"), expected):
        what = "it needs a token" if header is None else "the token is wrong"
        raise RequestError(
            401, f"{what}: send the header Authorization: Bearer TOKEN", "Authorization", WWW_Authenticate="Bearer"
        )
