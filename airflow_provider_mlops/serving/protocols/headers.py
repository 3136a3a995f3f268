"""Names of the HTTP headers that the gateway and its clients agree on."""

from __future__ import annotations

VERIFICATION_HEADER = "X-Verification"
"""Marks a request as a check of the gateway; see `serving/gateway/predict/verification.py`."""
