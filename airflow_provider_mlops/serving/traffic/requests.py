"""Requests from the rows of a dataset, with the labels and rewards that will be sent for them."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Any

import orjson
import pyarrow

from airflow_provider_mlops.data.json_values import json_value_or_text
from airflow_provider_mlops.data.names import list_names, must_be_a_column
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.serving.protocols.responses import TensorMetadata
from airflow_provider_mlops.serving.traffic.source import Source
from airflow_provider_mlops.serving.traffic.traffic import Traffic


@dataclass(frozen=True, slots=True)
class Request:
    """The body and the additional headers of a request, and the outcome of each of its rows.

    `outcomes` has a label and a reward for each row, or None for a row without feedback.
    """

    content: bytes
    headers: bytes
    outcomes: list[tuple[Any, float | None] | None]


class Requests:
    """The requests for a model from the rows of a source. Raises InvalidSpecError if the columns do not fit.

    Parameters
    ----------
    inputs
        Inputs of the model, as the Open Inference Protocol describes them.
    """

    def __init__(self, traffic: Traffic, source: Source, inputs: Sequence[TensorMetadata]) -> None:
        self._traffic = traffic
        self._source = source
        self._known = list(source.schema.names)
        for field, name in (("target", traffic.target), ("reward", traffic.reward)):
            self._require(field, name)
            if name is not None and any(name == entry["name"] for entry in inputs):
                hint = f"the column is an input of the model {traffic.model!r}. Choose a column that is not an input"
                raise InvalidSpecError(field, name, hint)
        for name in traffic.headers.values():
            self._require("headers", name)
        if traffic.reward is not None and not _is_number(source.schema.field(traffic.reward).type):
            hint = "the column must contain numbers or booleans. Choose another column, or convert it"
            raise InvalidSpecError("reward", traffic.reward, hint)
        missing = [
            entry["name"]
            for entry in inputs
            if entry["name"] not in self._known and not entry.get("parameters", {}).get("optional")
        ]
        if missing:
            hint = f"the dataset lacks columns that the model {traffic.model!r} needs: {list_names(missing)}"
            raise InvalidSpecError("dataset", source.name, hint)
        self._features = [entry["name"] for entry in inputs if entry["name"] in self._known]

    def __iter__(self) -> Iterator[Request]:
        """Yield the requests of the dataset once, or endlessly if the traffic repeats it."""
        traffic = self._traffic
        further = [traffic.target, traffic.reward, *traffic.headers.values()]
        columns = list(dict.fromkeys([*self._features, *(name for name in further if name is not None)]))
        positions = {name: position for position, name in enumerate(columns)}
        chance = random.Random(f"labels {traffic.seed}")
        beginning = b'{"dataframe_split":{"columns":' + orjson.dumps(self._features) + b',"data":'
        width = len(self._features)
        while True:
            rows = (
                row
                for batch in self._source.batches(columns)
                for row in zip(*(column.to_pylist() for column in batch.columns), strict=True)
            )
            while chunk := list(islice(rows, traffic.rows)):
                content = beginning + orjson.dumps([row[:width] for row in chunk], default=json_value_or_text) + b"}}"
                headers = "".join(
                    _header(name, chunk[0][positions[column]]) for name, column in traffic.headers.items()
                ).encode()
                outcomes = [
                    self._outcome(row, positions) if chance.random() < traffic.label_share else None for row in chunk
                ]
                yield Request(content, headers, outcomes)
            if not traffic.repeat:
                return

    def _outcome(self, row: tuple[Any, ...], positions: dict[str, int]) -> tuple[Any, float | None] | None:
        target, reward_column = self._traffic.target, self._traffic.reward
        label = None if target is None else _label(row[positions[target]])
        reward = None if reward_column is None else _label(row[positions[reward_column]])
        return None if label is None and reward is None else (label, None if reward is None else float(reward))

    def _require(self, field: str, name: str | None) -> None:
        if name is not None and name not in self._known:
            raise InvalidSpecError(field, name, must_be_a_column(name, self._known))


def _is_number(kind: pyarrow.DataType) -> bool:
    types = pyarrow.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_decimal(kind))


def _header(name: str, value: Any) -> str:
    if value is None:
        return ""
    # A line break would end the header, so whitespace becomes single spaces.
    return f"{name}: {' '.join(str(value).split())}\r\n"


def _label(value: Any) -> Any:
    """Return a value as a label: a string, a finite number or a boolean; None for a missing value."""
    if isinstance(value, Decimal):
        value = float(value)
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value if isinstance(value, str | int | float) else str(json_value_or_text(value))
