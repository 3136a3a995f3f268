"""Paths to which prediction requests are sent, with the protocol of each.

The gateway's router, its fast path and the OpenAPI document are all made from this table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from airflow_provider_mlops.serving.protocols import invocations, protocol_v2
from airflow_provider_mlops.serving.protocols.parsed_request import Parse
from airflow_provider_mlops.serving.rows.request_error import RequestError


@dataclass(frozen=True)
class PredictPath:
    """A path template and the function that parses requests to it."""

    template: str
    parse: Parse

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the template's parameters, in order."""
        return tuple(re.findall(r"{(\w+)}", self.template))


PREDICT_PATHS = (
    PredictPath("/v2/models/{name}/infer", protocol_v2.parse),
    PredictPath("/v2/models/{name}/versions/{version}/infer", protocol_v2.parse),
    PredictPath("/invocations", invocations.parse),
    PredictPath("/models/{name}/invocations", invocations.parse),
    # The path that the `mlflow.deployments` client uses.
    PredictPath("/endpoints/{name}/invocations", invocations.parse),
)

_PATTERNS = tuple((re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", path.template)), path) for path in PREDICT_PATHS)


class PredictRoute(NamedTuple):
    """A parsed path: the protocol's function that parses the body, and the model and version that the path names."""

    parse: Parse
    model: str | None
    version: str | None


@lru_cache(maxsize=1024)
def match_route(path: str) -> PredictRoute | None:
    """Return the route of a prediction path; None for any other path.

    Examples
    --------
    >>> match_route("/v2/models/churn/versions/3/infer")[1:]
    ('churn', '3')
    >>> match_route("/v2/models/churn") is None
    True
    """
    for pattern, predict_path in _PATTERNS:
        match = pattern.fullmatch(path)
        if match is not None:
            named = match.groupdict()
            return PredictRoute(predict_path.parse, named.get("name"), named.get("version"))
    return None


def parse_version(text: str | None) -> int | None:
    """Return the version number in a path. Raises RequestError (404)."""
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise RequestError(404, f"{text[:100]!r} is not a valid version. Versions are positive integers.", "version")
    return int(text)
