"""Requests that check the gateway: routed as any other, logged apart from the traffic.

A deployment asks the model's own address to see who answers there. That must go through exactly the routing that users
get, but it is nobody's traffic. So it carries a mark, which takes the gateway's token: without it, whoever reaches
the port could hide predictions from those who watch the traffic.
"""

from __future__ import annotations

from collections.abc import Mapping

from airflow_provider_mlops.serving.gateway.admin.authorization import require
from airflow_provider_mlops.serving.protocols.headers import VERIFICATION_HEADER
from airflow_provider_mlops.serving.rows.request_error import RequestError

_MARK = VERIFICATION_HEADER.lower().encode()


def is_verification(headers: Mapping[bytes, bytes], token: str) -> bool:
    """Whether a request is marked. Raises RequestError: 401 for a mark without the token, 400 for neither true nor false."""
    given = headers.get(_MARK)
    if given is None:
        return False
    mark = given.decode("latin-1").strip().lower()
    if mark not in ("true", "false"):
        raise RequestError(400, f"send true or false, not {mark[:60]!r}", VERIFICATION_HEADER)
    if mark == "false":
        return False
    require(headers, token)
    return True
