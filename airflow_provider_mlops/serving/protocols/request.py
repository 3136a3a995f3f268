"""A request of one of the protocols once its body has been parsed, and the body of its answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from airflow_provider_mlops.serving.models.loaded_model import Answer, LoadedModel
from airflow_provider_mlops.serving.protocols.body import Body
from airflow_provider_mlops.serving.rows.input_schema import InputSchema
from airflow_provider_mlops.serving.rows.rows import Rows


@dataclass(slots=True)
class Encoded:
    """The body of an answer, and the headers that its form asks for."""

    content: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ((b"content-type", b"application/json"),)


class Request(Protocol):
    """A request of one of the protocols, whose rows have been checked."""

    @property
    def rows(self) -> Rows:
        """The rows to predict."""

    def answer(self, model: LoadedModel, answer: Answer, own_id: str) -> Encoded:
        """The answer in the form of the protocol."""


class Read(Protocol):
    """How a protocol reads the body of a request."""

    def __call__(self, body: Body, schema: InputSchema) -> Request:
        """The request. Raises RequestError: 400 for the protocol, 422 for the rows."""
