"""Names of HTTP headers that the gateway and its clients share."""

from __future__ import annotations

VERIFICATION_HEADER = "X-Verification"
"""Marks a request as a check of the gateway, see `serving/gateway/predict/verification.py`."""

JSON_LENGTH_HEADER = "Inference-Header-Content-Length"
"""Number of bytes of JSON in a body that also holds binary tensors."""
