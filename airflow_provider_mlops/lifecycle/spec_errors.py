"""The words for a field that pydantic refuses: what the value must be, and what to do about it."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from airflow_provider_mlops.data.names import did_you_mean, pluralize, suggest

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_DURATION = "a duration: a timedelta, a number of seconds, or text such as 'P1D' or '1 12:00:00'"
_TIME = "a date with a time, for example '2026-01-31T12:00:00+00:00'"
_DATE = "a date, for example '2026-01-31'"
_WORDS = {
    "string": "a string",
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "bool": "True or False",
    "time_delta": _DURATION,
    "datetime": _TIME,
    "date": _DATE,
    "callable": "a function",
    "invalid-json": "a JSON value",
}
"""What a value must be, by the first word of the type of pydantic's error: `int_parsing`, `int_from_float`."""
_TYPE_WORDS = {
    str: "a string",
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    tuple: "a list of values",
    list: "a list of values",
    timedelta: _DURATION,
}

_LIMITS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
    "multiple_of": ("multiple_of", "a multiple of"),
}
_LENGTHS = {
    "too_short": ("min_length", "at least", "value"),
    "too_long": ("max_length", "at most", "value"),
    "string_too_short": ("min_length", "at least", "character"),
    "string_too_long": ("max_length", "at most", "character"),
}


def hint_of(details: ErrorDetails, name: str, annotation: Any, models: list[type[BaseModel]]) -> str:
    """Return the hint for one of pydantic's errors.

    Parameters
    ----------
    details
        The error.
    name
        Name of the field that is invalid.
    annotation
        Type of that field, or None if it is not a field of a model.
    models
        The models that are accepted there.

    Examples
    --------
    >>> details = {"type": "int_parsing", "loc": ("bins",), "input": "x", "msg": "", "ctx": {}}
    >>> hint_of(details, "bins", int, [])
    'it must be a whole number'
    """
    kind, value = details["type"], details["input"]
    if kind == "missing":
        return "it is required"
    if kind == "extra_forbidden":
        return _unknown_field(name, models)
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return _unknown_kind(value, models)
    must = _must_be(details, annotation, models)
    if value is None:
        return f"{must}. A template or an XCom without a value gives None"
    return must


def kinds_of(model: type[BaseModel]) -> tuple[str, ...]:
    """Return the values that the field `kind` of a model may have; empty if it has no such field."""
    return typing.get_args(model.model_fields["kind"].annotation) if "kind" in model.model_fields else ()


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the models that the type of a field mentions."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in typing.get_args(annotation) for model in models_in(argument)]


def _unknown_field(name: str, models: list[type[BaseModel]]) -> str:
    owners = " or ".join(model.__name__ for model in models) or "the spec"
    fields = dict.fromkeys(field for model in models for field in model.model_fields)
    return f"it is not a field of {owners}. {suggest(name, fields)}"


def _unknown_kind(value: Any, models: list[type[BaseModel]]) -> str:
    kinds = [kind for model in models for kind in kinds_of(model)]
    given = value.get("kind") if isinstance(value, Mapping) else value
    if given is None:
        return f"it is required. Set it to one of {', '.join(map(repr, kinds))}"
    nearest = did_you_mean(str(given), kinds)
    # The kinds have been listed already: only a near one adds something.
    return f"it must be one of {', '.join(map(repr, kinds))}" + (f". {nearest}" if nearest else "")


def _must_be(details: ErrorDetails, annotation: Any, models: list[type[BaseModel]]) -> str:
    kind, context = details["type"], details.get("ctx", {})
    if kind in _LIMITS:
        key, words = _LIMITS[kind]
        return f"it must be {words} {_format_limit(context[key])}"
    if kind in _LENGTHS:
        key, words, noun = _LENGTHS[kind]
        limit = context[key]
        is_empty = (words, limit) == ("at least", 1)
        return "it must not be empty" if is_empty else f"it must have {words} {pluralize(limit, noun)}"
    for prefixes, words_for in _SPECIAL:
        if kind.startswith(prefixes):
            return words_for(details, models)
    alternatives = _alternatives(annotation)
    if len(alternatives) > 1:
        return f"it must be {', '.join(alternatives[:-1])} or {alternatives[-1]}"
    for prefix, words in _WORDS.items():
        if kind.startswith(prefix):
            return f"it must be {words}"
    return _reword(details["msg"])


def _must_be_one_of(details: ErrorDetails, models: list[type[BaseModel]]) -> str:
    expected = str(details.get("ctx", {}).get("expected", ""))
    names = re.findall(r"'([^']*)'", expected)
    given = details["input"]
    nearest = did_you_mean(given, names) if isinstance(given, str) else ""
    # The names have been listed already: only a near one adds something.
    return f"it must be {expected}" + (f". {nearest}" if nearest else "")


def _must_be_a_list(details: ErrorDetails, models: list[type[BaseModel]]) -> str:
    value = details["input"]
    return f"it must be a list of values, for example [{value!r:.50}]" if value is not None else "it must be a list"


def _must_be_a_mapping(details: ErrorDetails, models: list[type[BaseModel]]) -> str:
    kinds = [kind for model in models for kind in kinds_of(model)]
    if kinds:
        return f"it must be a mapping whose kind is one of {', '.join(map(repr, kinds))}"
    fields = f" of the fields {', '.join(models[0].model_fields)}" if models else ""
    return f"it must be a mapping{fields}"


def _must_match(details: ErrorDetails, models: list[type[BaseModel]]) -> str:
    return f"it must match the regular expression {details.get('ctx', {}).get('pattern')}"


_SPECIAL: tuple[tuple[tuple[str, ...], Callable[[ErrorDetails, list[type[BaseModel]]], str]], ...] = (
    (("literal_error", "enum"), _must_be_one_of),
    (("tuple_type", "list_type", "set_type", "frozen_set_type"), _must_be_a_list),
    (("model_type", "model_attributes_type", "dict_type", "mapping_type"), _must_be_a_mapping),
    (("string_pattern",), _must_match),
)


def _alternatives(annotation: Any) -> list[str]:
    """Return the words for the types that a field accepts, if it accepts several."""
    if typing.get_origin(annotation) not in (typing.Union, types.UnionType):
        return []
    accepted = [typing.get_origin(part) or part for part in typing.get_args(annotation)]
    return list(dict.fromkeys(_TYPE_WORDS[part] for part in accepted if part in _TYPE_WORDS))


def _format_limit(limit: object) -> str:
    if isinstance(limit, timedelta):
        return "0 seconds" if not limit else str(limit)
    return f"{limit:g}" if isinstance(limit, float) else str(limit)


def _reword(message: str) -> str:
    """Return pydantic's own message as a hint.

    >>> _reword("Input should be a valid UUID"), _reword("Value error, name two versions")
    ('it must be a valid UUID', 'name two versions')
    """
    text = re.sub(r"^Input should ", "it must ", message.removeprefix("Value error, "))
    return text[:1].lower() + text[1:]
