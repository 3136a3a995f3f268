"""From rows to requests, and to what will be told of their answers."""

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
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.serving.traffic.source import Source
from airflow_provider_mlops.serving.traffic.traffic import Traffic


@dataclass(frozen=True, slots=True)
class Request:
    """The body and the additional headers of a request, and what is known of each of its rows.

    `told` has a label and a reward for each row, or None for a row of which nothing will be told.
    """

    content: bytes
    headers: bytes
    told: list[tuple[Any, float | None] | None]


class Requests:
    """The requests that a source makes for a model. Raises InvalidSpecError if the columns do not fit.

    :param inputs: what the model takes, as the Open Inference Protocol describes it.
    """

    def __init__(self, traffic: Traffic, source: Source, inputs: Sequence[dict[str, Any]]) -> None:
        self._traffic = traffic
        self._source = source
        self._known = list(source.schema.names)
        for field, name in (("target", traffic.target), ("reward", traffic.reward)):
            self._require(field, name)
            if name is not None and any(name == entry["name"] for entry in inputs):
                raise InvalidSpecError(field, name, f"the model {traffic.model!r} takes it as an input: name another")
        for name in traffic.headers.values():
            self._require("headers", name)
        if traffic.reward is not None and not _is_number(source.schema.field(traffic.reward).type):
            raise InvalidSpecError("reward", traffic.reward, "name a column of numbers, or of true and false")
        missing = [
            entry["name"]
            for entry in inputs
            if entry["name"] not in self._known and not entry.get("parameters", {}).get("optional")
        ]
        if missing:
            raise InvalidSpecError(
                "dataset", source.name, f"it lacks columns that the model {traffic.model!r} takes: {_named(missing)}"
            )
        self._features = [entry["name"] for entry in inputs if entry["name"] in self._known]

    def __iter__(self) -> Iterator[Request]:
        """Each request once, or again and again where the traffic repeats its dataset."""
        traffic = self._traffic
        others = [traffic.target, traffic.reward, *traffic.headers.values()]
        columns = list(dict.fromkeys([*self._features, *(name for name in others if name is not None)]))
        place = {name: position for position, name in enumerate(columns)}
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
                    _header(name, chunk[0][place[column]]) for name, column in traffic.headers.items()
                ).encode()
                told = [self._told(row, place) if chance.random() < traffic.label_share else None for row in chunk]
                yield Request(content, headers, told)
            if not traffic.repeat:
                return

    def _told(self, row: tuple[Any, ...], place: dict[str, int]) -> tuple[Any, float | None] | None:
        target, reward = self._traffic.target, self._traffic.reward
        label = None if target is None else _label(row[place[target]])
        given = None if reward is None else _label(row[place[reward]])
        return None if label is None and given is None else (label, None if given is None else float(given))

    def _require(self, field: str, name: str | None) -> None:
        if name is not None and name not in self._known:
            raise InvalidSpecError(field, name, f"the dataset has no such column: name one of {_named(self._known)}")


def _named(names: list[str]) -> str:
    return ", ".join(map(repr, names[:20])) + (", ..." if len(names) > 20 else "")


def _is_number(kind: pyarrow.DataType) -> bool:
    types = pyarrow.types
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind) or types.is_decimal(kind))


def _header(name: str, value: Any) -> str:
    if value is None:
        return ""
    # A line break would end the header.
    return f"{name}: {' '.join(str(value).split())}\r\n"


def _label(value: Any) -> Any:
    """A value as a label may be: text, a finite number, true or false; None if there is none."""
    if isinstance(value, Decimal):
        value = float(value)
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value if isinstance(value, str | int | float) else str(json_value_or_text(value))
