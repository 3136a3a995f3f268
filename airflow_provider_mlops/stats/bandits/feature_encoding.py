"""From the context of a request to a vector of features."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

OTHER = "other"


@dataclass(frozen=True, slots=True)
class FeatureEncoding:
    """Numbers, scaled, and categories, one slot for each declared value and one for all others.

    The first slot is always one. A number that is missing, or none, counts as its centre, and the scaled number is cut
    off at `largest`, so that one odd request cannot outweigh all others. Context that is not declared is left out.
    A category may also be a whole number, or true or false: its values are declared as `"1"` and `"true"`.

    Parameters
    ----------
    numbers
        Centre and scale of each number by its name; the scale is above 0.
    categories
        Values of each category by its name, at least one each.
    largest
        Greatest size of a scaled number.

    >>> encoding = FeatureEncoding(numbers={"hour": (12.0, 6.0)}, categories={"place": ("north", "south")})
    >>> encoding.names
    ('one', 'hour', 'place=north', 'place=south', 'place=other')
    >>> encoding.encode({"hour": 18, "place": "west"})
    array([1., 1., 0., 0., 1.])
    """

    numbers: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    largest: float = 5.0

    def __post_init__(self) -> None:
        for name, (centre, scale) in self.numbers.items():
            if not math.isfinite(centre) or not 0 < scale < math.inf:
                raise ValueError(f"numbers: {name} needs a centre and a scale above 0, not {centre} and {scale}")
        for name, values in self.categories.items():
            if not values or len(set(values)) != len(values):
                raise ValueError(f"categories: {name} needs different values, not {list(values)}")
        if both := sorted(set(self.numbers) & set(self.categories)):
            raise ValueError(f"{', '.join(both)} cannot be both a number and a category")
        if not self.largest > 0:
            raise ValueError(f"largest must be above 0, not {self.largest}")

    @property
    def names(self) -> tuple[str, ...]:
        """Of the slots, in order."""
        slots = [f"{name}={value}" for name, values in self.categories.items() for value in (*values, OTHER)]
        return ("one", *self.numbers, *slots)

    def encode(self, context: Mapping[str, Any] | None) -> Floats:
        """The features of one request, of shape `(features,)`."""
        given = context or {}
        features = [1.0]
        for name, (centre, scale) in self.numbers.items():
            scaled = (_number(given.get(name), centre) - centre) / scale
            features.append(max(-self.largest, min(self.largest, scaled)))
        for name, values in self.categories.items():
            value = _category(given.get(name))
            features += [float(value == one) for one in values]
            features.append(float(value not in values))
        return np.array(features)


def _category(value: Any) -> str | None:
    """The value as text, the same whether a whole number came with a fraction or not; None where there is none.

    >>> _category(1), _category(1.0), _category(True), _category("north"), _category(float("nan"))
    ('1', '1', 'true', 'north', None)
    """
    if value is None or value != value:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _number(value: Any, centre: float) -> float:
    """The value as a number, its centre where it is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return centre
    return centre if math.isnan(number) else number
