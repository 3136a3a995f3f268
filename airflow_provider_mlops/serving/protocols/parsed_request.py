"""The interface of a protocol: a function that parses a body, and a parsed request that encodes the response."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from airflow_provider_mlops.serving.models.loaded_model import LoadedModel, ModelResponse
from airflow_provider_mlops.serving.protocols.body import Body
from airflow_provider_mlops.serving.rows.input_schema import InputSchema
from airflow_provider_mlops.serving.rows.rows import Rows


@dataclass(slots=True)
class Encoded:
    """The body of an HTTP response and the headers that describe its format."""

    content: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ((b"content-type", b"application/json"),)


class ParsedRequest(Protocol):
    """A prediction request whose rows have been validated."""

    @property
    def rows(self) -> Rows:
        """The rows to predict."""

    def check_outputs(self, model: LoadedModel) -> None:
        """Raise RequestError (400) if the request names an output that the model does not have."""

    def encode(self, model: LoadedModel, response: ModelResponse, own_id: str) -> Encoded:
        """Return the body of the HTTP response in the format of the protocol."""


class Parse(Protocol):
    """The function with which a protocol parses the body of a request."""

    def __call__(self, body: Body, schema: InputSchema) -> ParsedRequest:
        """Return the parsed request. Raises RequestError: 400 for the format, 422 for the rows."""
