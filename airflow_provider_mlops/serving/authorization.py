"""How a request shows that it comes from who holds the gateway's token."""

from __future__ import annotations

from starlette.requests import Request

from airflow_provider_mlops.serving import token
from airflow_provider_mlops.serving.refusal import Refusal


def require(request: Request, expected: str) -> None:
    """Let a request pass that carries the token. Raises Refusal (401)."""
    header = request.headers.get("authorization")
    if not token.matches(header, expected):
        what = "it needs a token" if header is None else "the token is wrong"
        raise Refusal(
            401, f"{what}: send the header Authorization: Bearer TOKEN", "Authorization", WWW_Authenticate="Bearer"
        )
