"""The fields and checks that several gates share."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from airflow_provider_mlops.errors import FieldError


class GateBase(BaseModel):
    """The fields that all gates have."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    name: str | None = Field(
        default=None,
        max_length=60,
        description="Title of the gate in the verdict. Defaults to its kind and its metric.",
    )

    _named_by: ClassVar[tuple[str, ...]] = ("metric",)

    @property
    def title(self) -> str:
        """Return the gate's name, or else its kind and metric."""
        if self.name is not None:
            return self.name
        parts = (getattr(self, field, None) for field in self._named_by)
        return " ".join((self.kind, *(part for part in parts if part)))


def check_limits(min_value: float | None, max_value: float | None) -> None:
    """Raise FieldError if there is no limit, or if no value can be within the limits."""
    if min_value is None and max_value is None:
        raise FieldError("min_value", "set min_value, max_value or both")
    if min_value is not None and max_value is not None and min_value > max_value:
        raise FieldError("min_value", f"it must not be above max_value={max_value}, because then no value could pass")


def describe_limits(min_value: float | None, max_value: float | None) -> str:
    """Return the limits in words.

    >>> describe_limits(0.9, None)
    'at least 0.9'
    """
    limits = (("at least", min_value), ("at most", max_value))
    return " and ".join(f"{words} {bound:g}" for words, bound in limits if bound is not None)
