"""HTTP headers: the names that the gateway and its clients share, and repeated ones."""

from __future__ import annotations

from collections.abc import Iterable

VERIFICATION_HEADER = "X-Verification"
"""Marks a request as a check of the gateway, see `serving/gateway/predict/verification.py`."""

JSON_LENGTH_HEADER = "Inference-Header-Content-Length"
"""Number of bytes of JSON in a body that also holds binary tensors."""


def combined(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return headers by name. The values of a repeated header are separated by commas, as in RFC 9110, section 5.3.

    >>> combined([(b"x-group", b"staff"), (b"accept", b"*/*"), (b"x-group", b"beta")])
    {b'x-group': b'staff, beta', b'accept': b'*/*'}
    """
    values: dict[bytes, bytes] = {}
    for name, value in headers:
        values[name] = values[name] + b", " + value if name in values else value
    return values
