"""Descriptions of the fields of dataclasses that users fill in, as command-line options."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.errors import InvalidSpecError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def describe(
    text: str,
    *,
    metavar: str | None = None,
    min_: float | None = None,
    max_: float | None = None,
    above: float | None = None,
) -> dict[str, Any]:
    """Return a field's metadata.

    Parameters
    ----------
    text
        One sentence that describes the field.
    metavar
        Name of the value in the help, such as `SECONDS`.
    min_, max_
        Smallest and largest value allowed.
    above
        Limit that the value must exceed.
    """
    metadata = {"help": text, "metavar": metavar, "min": min_, "max": max_, "above": above}
    return {key: value for key, value in metadata.items() if value is not None}


def check_bounds(instance: DataclassInstance) -> None:
    """Compare the numbers of a dataclass with the bounds in the metadata of its fields.

    Raises
    ------
    InvalidSpecError
        If a number is out of bounds or not finite.
    """
    for field in fields(instance):
        bounds = {name: field.metadata[name] for name in ("min", "max", "above") if name in field.metadata}
        value = getattr(instance, field.name)
        if not bounds or value is None:
            continue
        low, high, limit = bounds.get("min", -math.inf), bounds.get("max", math.inf), bounds.get("above", -math.inf)
        if not (low <= value <= high and limit < value < math.inf):
            raise InvalidSpecError(field.name, value, f"it must be {_say_bounds(bounds)}")


def _say_bounds(bounds: dict[str, float]) -> str:
    if "above" in bounds:
        return f"greater than {bounds['above']:g}"
    if "max" in bounds:
        return f"between {bounds['min']:g} and {bounds['max']:g}"
    return f"at least {bounds['min']:g}"
