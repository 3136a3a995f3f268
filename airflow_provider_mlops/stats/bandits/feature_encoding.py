"""Encoding of the context of a request as a vector of features."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from airflow_provider_mlops.stats.arrays import Floats
from airflow_provider_mlops.stats.checks import check_positive

OTHER = "other"


@dataclass(frozen=True, slots=True)
class FeatureEncoding:
    """Encoding of numbers, which are scaled, and of categories, with a slot for each declared value and one for others.

    The first slot, the intercept, is always one. A number that is missing or not a number counts as its center. Scaled
    numbers are limited to `max_abs`, so that one unusual request cannot outweigh all others. Context that is not
    declared is ignored. A category may also be an integer or a boolean: declare its values as `"1"` and `"true"`.

    Parameters
    ----------
    numbers
        Center and scale of each number by its name; the scale is above 0.
    categories
        Values of each category by its name, at least one each.
    max_abs
        Largest absolute value of a scaled number.

    Examples
    --------
    >>> encoding = FeatureEncoding(numbers={"hour": (12.0, 6.0)}, categories={"place": ("north", "south")})
    >>> encoding.names
    ('intercept', 'hour', 'place=north', 'place=south', 'place=other')
    >>> encoding.encode({"hour": 18, "place": "west"})
    array([1., 1., 0., 0., 1.])
    """

    numbers: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    max_abs: float = 5.0

    def __post_init__(self) -> None:
        for name, (center, scale) in self.numbers.items():
            if not math.isfinite(center) or not 0 < scale < math.inf:
                raise ValueError(
                    f"numbers[{name!r}] must be a finite center and a finite scale above 0, got {center} and {scale}"
                )
        for name, values in self.categories.items():
            if not values or len(set(values)) != len(values):
                raise ValueError(
                    f"categories[{name!r}] must contain at least one value and no duplicates, got {list(values)}"
                )
        if both := sorted(set(self.numbers) & set(self.categories)):
            raise ValueError(f"a name must not be in both numbers and categories, got {', '.join(both)}")
        check_positive(max_abs=self.max_abs)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the slots, in order."""
        slots = [f"{name}={value}" for name, values in self.categories.items() for value in (*values, OTHER)]
        return ("intercept", *self.numbers, *slots)

    def encode(self, context: Mapping[str, Any] | None) -> Floats:
        """Return the features of one request, shape `(features,)`."""
        values_by_name = context or {}
        features = [1.0]
        for name, (center, scale) in self.numbers.items():
            scaled = (_as_number(values_by_name.get(name), center) - center) / scale
            features.append(max(-self.max_abs, min(self.max_abs, scaled)))
        for name, values in self.categories.items():
            value = _as_category(values_by_name.get(name))
            features += [float(value == declared) for declared in values]
            features.append(float(value not in values))
        return np.array(features)


def _as_category(value: Any) -> str | None:
    """Return the value as text, the same for `1` and `1.0`; None if the value is missing.

    >>> _as_category(1), _as_category(1.0), _as_category(True), _as_category("north"), _as_category(float("nan"))
    ('1', '1', 'true', 'north', None)
    """
    if value is None or value != value:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _as_number(value: Any, center: float) -> float:
    """Return the value as a number, or the center if it is not a number."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return center
    return center if math.isnan(number) else number
