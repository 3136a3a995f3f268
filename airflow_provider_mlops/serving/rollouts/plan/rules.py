"""Rules that the fields of a model must satisfy together, as a table instead of a chain of ifs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from airflow_provider_mlops.errors import FieldError

ModelT = TypeVar("ModelT")
ModelT_contra = TypeVar("ModelT_contra", contravariant=True)


@dataclass(frozen=True)
class Rule(Generic[ModelT_contra]):
    """One rule: when it is broken, which field is to blame, and what to do about it."""

    is_broken: Callable[[ModelT_contra], bool]
    field: str
    hint: str | Callable[[ModelT_contra], str]


def check(model: ModelT, rules: Sequence[Rule[ModelT]]) -> None:
    """Raise FieldError for the first rule that the model breaks.

    >>> check(3, [Rule(lambda number: number < 0, "number", "it must be positive")])
    """
    for rule in rules:
        if rule.is_broken(model):
            raise FieldError(rule.field, rule.hint if isinstance(rule.hint, str) else rule.hint(model))
