"""Rows with which a compiled model is compared with scikit-learn: usual ones, and many that are not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airflow_provider_mlops.serving.models.compiled.categories import UNSEEN_TEXT
from airflow_provider_mlops.serving.rows.input_schema import NUMERIC, Feature
from airflow_provider_mlops.serving.rows.rows import Rows

_COUNTS = (1, 2, 7, 32, 64)
_MISSING = 0.15
_UNSEEN = 0.15

_EXTREMES = (0.0, -0.0, 1.0, -1.0, 5e-324, 1e-300, 1e10, -1e10, 3.4028235e38, -3.5e38, 1e300, -1.7e308, 0.1, 2.0**53)
_LIMITS = {"integer": 2**31 - 1, "long": 2**63 - 1}
_TEXTS = (UNSEEN_TEXT, "", " ", "nan", "None", "missing", "0", "é", "\x00", "long " * 100)


def usual(example: Rows, known: Mapping[int, Sequence[Any]]) -> Iterator[Rows]:
    """Yield the example, and batches of random rows around it, some with missing values and unseen categories.

    Parameters
    ----------
    known
        Categories by the position of the column.
    """
    yield example
    random = np.random.default_rng(0)
    for count in _COUNTS:
        yield _rows(
            example,
            [
                _random_column(feature, column, known.get(position, ()), count, random)
                for position, (feature, column) in enumerate(
                    zip(example.schema.features, example.columns(), strict=True)
                )
            ],
        )


def all_categories(example: Rows, known: Mapping[int, Sequence[Any]]) -> Rows:
    """Return rows in which every category of every column occurs, and in each column an unseen and a missing one."""
    count = 2 + max(map(len, known.values()), default=0)
    columns = []
    for position, (feature, column) in enumerate(zip(example.schema.features, example.columns(), strict=True)):
        categories = known.get(position)
        if categories is None:
            columns.append(column[np.arange(count) % len(column)])
            continue
        unseen = UNSEEN_TEXT if feature.kind == "string" else max(categories) + 3
        last = [unseen, None] if feature.nullable else [unseen, unseen]
        columns.append(_array(feature, [*(categories[row % len(categories)] for row in range(count - 2)), *last]))
    return _rows(example, columns)


def unusual(example: Rows, known: Mapping[int, Sequence[Any]]) -> Iterator[list[Rows]]:
    """Yield two groups of single rows: with an extreme value in all columns, and with an unusual value in one column.

    A missing value is unusual, too.
    """
    first = example.slice(0, 1).columns()
    features = example.schema.features
    extremes: list[Rows] = []
    for extreme in _EXTREMES:
        columns = [
            _array(feature, [extreme]) if feature.kind in NUMERIC and position not in known else column
            for position, (feature, column) in enumerate(zip(features, first, strict=True))
        ]
        extremes.append(_rows(example, columns))
    yield extremes
    others: list[Rows] = []
    for position, feature in list(enumerate(features))[:50]:
        values: list[Any] = [None] if feature.nullable else []
        if feature.kind == "string":
            values += _TEXTS
        elif position in known:
            values += [-1.0, 0.5, 1e15, 2.0**31 - 1]
        elif feature.kind == "boolean":
            values += [False, True]
        for value in values:
            if feature.kind in ("integer", "long") and value is not None and value != int(value):
                continue
            columns = list(first)
            columns[position] = _array(feature, [value])
            others.append(_rows(example, columns))
    if others:
        yield others


def _rows(example: Rows, columns: list[NDArray[Any]]) -> Rows:
    """Return rows in the form in which requests usually have them."""
    count = len(columns[0])
    if example.schema.double:
        return Rows(example.schema, count, matrix=np.column_stack(columns))
    return Rows(example.schema, count, columns=columns)


def _random_column(
    feature: Feature, example: NDArray[Any], known: Sequence[Any], count: int, random: np.random.Generator
) -> NDArray[Any]:
    values: list[Any]
    if feature.kind == "string":
        choices = [*known, *example.tolist()]
        values = [choices[int(random.integers(len(choices)))] for _ in range(count)]
        values = [UNSEEN_TEXT if random.random() < _UNSEEN else value for value in values]
    elif feature.kind == "boolean":
        values = (random.random(count) < 0.5).tolist()
    elif feature.kind in NUMERIC:
        if known:
            values = [known[int(random.integers(len(known)))] for _ in range(count)]
            values = [value + 3 if random.random() < _UNSEEN else value for value in values]
        else:
            center, spread = _location(example)
            values = random.normal(center, spread, count).tolist()
    else:
        values = [example[random.integers(len(example))] for _ in range(count)]
        return np.array(values, dtype=example.dtype)
    if feature.nullable:
        values = [None if random.random() < _MISSING else value for value in values]
    elif None in values:
        values = [example.tolist()[0] if value is None else value for value in values]
    return _array(feature, values)


def _location(example: NDArray[Any]) -> tuple[float, float]:
    numbers = example.astype(np.float64)
    numbers = numbers[np.isfinite(numbers)]
    if not len(numbers):
        return 0.0, 1.0
    return float(numbers[0]), float(min(np.abs(numbers).max() + 1.0, 1e300))


def _array(feature: Feature, values: Sequence[Any]) -> NDArray[Any]:
    """Return values as an array, as checked rows have them."""
    if feature.kind in NUMERIC:
        missing = [value is None for value in values]
        numbers = np.array([0.0 if value is None else value for value in values], dtype=np.float64)
        limit = _LIMITS.get(feature.kind)
        if limit is not None:
            whole = [max(-limit, min(limit, int(number))) for number in numbers.tolist()]
            if not any(missing):
                return np.array(whole, dtype=NUMERIC[feature.kind])
            numbers = np.array(whole, dtype=np.float64)
        elif feature.kind == "float":
            largest = float(np.finfo(np.float32).max)
            numbers = np.clip(numbers, -largest, largest)
        numbers[missing] = np.nan
        # As `column_values`: a missing integer makes the column one of floating-point numbers.
        return numbers if limit is not None else numbers.astype(NUMERIC[feature.kind])
    if feature.kind == "boolean" and None not in values:
        return np.array(values, dtype=bool)
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
