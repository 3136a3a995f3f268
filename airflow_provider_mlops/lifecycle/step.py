"""What a step is: a Spec, a Result, and one function from the first to the second."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import inspect
import json
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from airflow_provider_mlops.errors import FieldError, InvalidSpecError
from airflow_provider_mlops.extras import require
from airflow_provider_mlops.lifecycle.workspace import Workspace

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


class Spec(BaseModel):
    """What a step is asked to do. Frozen, JSON in and out; an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), defer_build=True)

    @property
    def digest(self) -> str:
        """A hash of all fields: two specs with the same digest ask for the same work."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:32]


class Result(BaseModel):
    """What a step returns. Each field becomes one XCom, so it holds references and small numbers, never rows."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), defer_build=True)


SpecT = TypeVar("SpecT", bound=Spec)
ResultT = TypeVar("ResultT", bound=Result)


@dataclass(frozen=True)
class Step(Generic[SpecT, ResultT]):
    """One step of the lifecycle under its one word."""

    name: str
    spec: type[SpecT]
    result: type[ResultT]
    function: Callable[[SpecT, Workspace], ResultT]
    extras: tuple[str, ...] = ()
    """The extras of this package that the step needs, see `airflow_provider_mlops.extras`."""

    def run(self, spec: SpecT, workspace: Workspace) -> ResultT:
        """Carry out the step in this process. Raises MissingExtraError before any work if an extra is missing."""
        self.check_extras()
        return self.function(spec, workspace)

    def check_extras(self) -> None:
        """Check that the extras of the step are installed here. Raises MissingExtraError."""
        require(f"The step {self.name}", *self.extras)

    def parse(self, fields: dict[str, Any]) -> SpecT:
        """Turn fields into the step's Spec. Raises InvalidSpecError, which names the first wrong field."""
        try:
            return self.spec.model_validate(fields)
        except ValidationError as error:
            raise invalid(error.errors(include_url=False)[0], self.spec) from error


STEPS = (
    "extract",
    "analyze",
    "validate_data",
    "prepare",
    "train",
    "tune",
    "evaluate",
    "validate",
    "deploy",
    "rollout",
    "rollback",
    "monitor",
)


def load(name: str) -> Step[Any, Any]:
    """The step called `name`: the `STEP` of the module of that name. Raises InvalidSpecError."""
    if name not in STEPS:
        raise InvalidSpecError("step", name, f"use one of {', '.join(STEPS)}")
    module = importlib.import_module(f"airflow_provider_mlops.lifecycle.{name}.step")
    return cast("Step[Any, Any]", module.STEP)


def invalid(details: ErrorDetails, spec: type[BaseModel]) -> InvalidSpecError:
    """What pydantic says of one field, as this package says it."""
    parts, models = _place(details["loc"], spec)
    value, kind, cause = details["input"], details["type"], details.get("ctx", {}).get("error")
    if isinstance(cause, FieldError):
        given = value.get(cause.field) if isinstance(value, Mapping) else value
        return InvalidSpecError(".".join([*parts, cause.field]), given, str(cause))
    field = ".".join(parts) or "spec"
    if kind == "missing":
        return InvalidSpecError(field, None, "this field is required")
    if kind == "extra_forbidden":
        known = [name for model in models for name in model.model_fields]
        close = difflib.get_close_matches(parts[-1], known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"the fields are {', '.join(known)}"
        return InvalidSpecError(field, value, f"there is no such field; {hint}")
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        tags = [tag for model in models for tag in _tags(model)]
        tag = value.get("kind") if isinstance(value, dict) else value
        return InvalidSpecError(f"{field}.kind", tag, f"use one of {', '.join(tags)}")
    if value is None:
        return InvalidSpecError(
            field, None, _lower(details["msg"]) + "; a template or an XCom without a value gives None"
        )
    if kind in ("tuple_type", "list_type"):
        return InvalidSpecError(field, value, f"write a list of values, such as [{value!r:.50}]")
    if kind in ("model_type", "model_attributes_type", "dict_type", "mapping_type"):
        return InvalidSpecError(field, value, f"write a mapping{_contents(models)}")
    if kind == "time_delta_parsing":
        return InvalidSpecError(field, value, "write a number of seconds, or a duration such as 'P1D' or '1 12:00:00'")
    return InvalidSpecError(field, value, _lower(details["msg"].removeprefix("Value error, ")))


def _contents(models: list[type[BaseModel]]) -> str:
    tags = [tag for model in models for tag in _tags(model)]
    if tags:
        return f" whose kind is one of {', '.join(tags)}"
    return f" of the fields {', '.join(models[0].model_fields)}" if models else ""


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _place(loc: Iterable[str | int], spec: type[BaseModel]) -> tuple[list[str], list[type[BaseModel]]]:
    """Where an error is as a user writes it, without the tags of unions, and which models may stand there."""
    parts: list[str] = []
    models = [spec]
    for part in loc:
        tagged = [model for model in models if part in _tags(model)]
        if tagged:
            models = tagged
            continue
        parts.append(str(part))
        fields = [model.model_fields[part] for model in models if isinstance(part, str) and part in model.model_fields]
        if fields:
            models = [model for field in fields for model in _models_in(field.annotation)]
    return parts, models


def _tags(model: type[BaseModel]) -> tuple[str, ...]:
    return typing.get_args(model.model_fields["kind"].annotation) if "kind" in model.model_fields else ()


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in typing.get_args(annotation) for model in _models_in(argument)]
