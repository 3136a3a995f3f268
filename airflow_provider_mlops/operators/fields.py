"""Conversion of a step's fields between a DAG file and the step's Spec.

In a DAG file a field may be a literal, a template, another task's output, a function or a model such
as `Split(...)`. Airflow renders only strings, lists and dicts, and would call a function or an object
with a `resolve` method. So `to_template` turns values into what Airflow can render, and `from_template` turns them
back.
"""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.data.names import did_you_mean
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.step import Spec, Step, invalid
from airflow_provider_mlops.lifecycle.user_code import UserCode


class Function:
    """A function in a field, which Airflow does not template, and whose source the UI shows."""

    def __init__(self, code: Any) -> None:
        self.code = code

    def serialize(self) -> str:
        """Return the text for the UI's rendered view: the import path or the source."""
        code = self.code if isinstance(self.code, UserCode) else UserCode.model_validate(self.code)
        return code.import_path or code.source or code.name or "a function"

    def __repr__(self) -> str:
        return self.serialize()


def to_template(value: Any) -> Any:
    """Replace models by dicts and functions by `Function`. Return the same object if it contains neither.

    Airflow recognizes by identity the values that it must not render a second time.

    >>> to_template({"rate": 0.1, "function": len})
    {'rate': 0.1, 'function': builtins:len}
    """
    if isinstance(value, UserCode) or inspect.isroutine(value):
        return Function(value)
    if isinstance(value, BaseModel):
        return {name: to_template(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, dict):
        changed = {key: to_template(item) for key, item in value.items()}
        return changed if any(changed[key] is not item for key, item in value.items()) else value
    if type(value) in (list, tuple):
        items = [to_template(item) for item in value]
        return type(value)(items) if any(a is not b for a, b in zip(items, value, strict=True)) else value
    return value


def from_template(value: Any) -> Any:
    """Replace every `Function` by the function itself."""
    if isinstance(value, Function):
        return value.code
    if isinstance(value, Mapping):
        return {key: from_template(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(from_template(item) for item in value)
    return value


def default(field: FieldInfo) -> Any:
    """Return the field's default, converted by `to_template`; None for a required field."""
    return None if field.is_required() else to_template(field.get_default(call_default_factory=True))


def coerce_rendered(field: FieldInfo, value: Any) -> Any:
    """Convert a rendered template to the field's type: `"None"` to None, `"[1, 2]"` to a list.

    A string that the field accepts stays a string. A number becomes text if the field is text, because native
    rendering turns the parameter `"2026"` into a number.

    >>> coerce_rendered(FieldInfo(annotation=int | None), "None"), coerce_rendered(FieldInfo(annotation=str), "[1]")
    (None, '[1]')
    >>> coerce_rendered(FieldInfo(annotation=dict[str, int]), '{"depth": 3}')
    {'depth': 3}
    >>> coerce_rendered(FieldInfo(annotation=str), 2026)
    '2026'
    """
    if not isinstance(value, (str, int, float)):
        return value
    annotation: Any = field.annotation
    adapter: TypeAdapter[Any] = TypeAdapter(annotation)
    if not isinstance(value, str):
        return str(value) if not _accepts(adapter, value) and _accepts(adapter, str(value)) else value
    if value in ("None", "") and _accepts(adapter, None):
        return None
    if not _accepts(adapter, value):
        for parse in (json.loads, ast.literal_eval):
            try:
                return parse(value)
            except (ValueError, SyntaxError):
                continue
    return value


def _accepts(adapter: TypeAdapter[Any], value: Any) -> bool:
    try:
        adapter.validate_python(value)
    except ValidationError:
        return False
    return True


def is_known(value: Any) -> bool:
    """Return whether a value is complete at parse time: it contains no template and no output of another task.

    >>> is_known({"limit": 3}), is_known(["{{ params.target }}"])
    (True, False)
    """
    if isinstance(value, str):
        return "{{" not in value and "{%" not in value
    if isinstance(value, Mapping):
        return all(is_known(item) for item in value.values())
    if isinstance(value, Function):
        return True
    if isinstance(value, Iterable) and not isinstance(value, bytes):
        return type(value) in (list, tuple, set, frozenset) and all(is_known(item) for item in value)
    return not hasattr(value, "resolve")


def check_known(step: Step[Any, Any], fields: dict[str, Any]) -> None:
    """Check at parse time the fields that hold no template. Raises InvalidSpecError for an invalid one.

    If some fields hold templates, checks that involve several fields are left for run time.
    """
    known = {
        name: from_template(value)
        for name, value in fields.items()
        # A dataset given by its URI is resolved when the task runs: parsing a DAG reads no data.
        if is_known(value) and not (isinstance(value, str) and step.spec.model_fields[name].annotation is Dataset)
    }
    if len(known) == len(fields):
        step.parse(known)
        return
    try:
        step.spec.model_validate(known)
    except ValidationError as error:
        invalid_names = [str(details["loc"][0]) for details in error.errors() if details["loc"]]
        for name in invalid_names:
            if name in known:
                # Checked alone, so that the error is about this field and not about one that is still a template.
                _check_field(step, name, known[name])
    except InvalidSpecError as error:
        if error.field.split(".", 1)[0] in known:
            raise


def _check_field(step: Step[Any, Any], name: str, value: Any) -> None:
    try:
        step.spec.model_validate({name: value})
    except ValidationError as error:
        for details in error.errors(include_url=False):
            if details["loc"] and details["loc"][0] == name:
                raise invalid(details, step.spec) from error


def unknown_field(owner: str, spec: type[Spec], name: str, value: object = None) -> InvalidSpecError:
    """Return the error for an unknown field, which names the nearest field and all others."""
    names = list(spec.model_fields)
    hint = f"{owner} has no such field. {did_you_mean(name, names)}".rstrip()
    return InvalidSpecError(name, value, f"{hint} The fields are {', '.join(names)}")
