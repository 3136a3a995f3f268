"""Requests that check the gateway: routed like any other, but logged separately from user traffic.

A deployment asks the model's own address which version answers. Such a request must use the same routing as user
requests, but does not count as traffic, so it carries a header that marks it. The header requires a key with the right
`administration`; otherwise anyone who reaches the port could hide predictions from the monitoring of the traffic.
"""

from __future__ import annotations

from collections.abc import Mapping

from airflow_provider_mlops.serving.protocols.headers import VERIFICATION_HEADER
from airflow_provider_mlops.serving.rows.request_error import RequestError

_HEADER = VERIFICATION_HEADER.lower().encode()


def is_verification(headers: Mapping[bytes, bytes]) -> bool:
    """Return whether a request is marked as a check.

    Raises RequestError (400) if the header is neither true nor false.
    """
    header = headers.get(_HEADER)
    if header is None:
        return False
    value = header.decode("latin-1").strip().lower()
    if value not in ("true", "false"):
        raise RequestError(
            400, f"{VERIFICATION_HEADER} must be true or false, not {value[:60]!r}.", VERIFICATION_HEADER
        )
    return value == "true"
