"""The contract of a step: a Spec, a Result, and one function from the first to the second."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from airflow_provider_mlops.data.names import suggest
from airflow_provider_mlops.errors import FieldError, InvalidSpecError
from airflow_provider_mlops.extras import require
from airflow_provider_mlops.lifecycle.spec_errors import hint_of, kinds_of, models_in
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.step_names import STEPS

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


class Spec(BaseModel):
    """The fields of a step. Frozen, JSON in and out; an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), defer_build=True)

    @property
    def digest(self) -> str:
        """A hash of all fields: two specs with the same digest ask for the same work."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:32]


class Result(BaseModel):
    """The outcome of a step. Each field becomes one XCom, so it holds references and small numbers, never rows."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), defer_build=True)


SpecT = TypeVar("SpecT", bound=Spec)
ResultT = TypeVar("ResultT", bound=Result)


@dataclass(frozen=True)
class Step(Generic[SpecT, ResultT]):
    """A step of the lifecycle: its name, its Spec, its Result and its function."""

    name: str
    spec: type[SpecT]
    result: type[ResultT]
    function: Callable[[SpecT, Workspace], ResultT]
    extras: tuple[str, ...] = ()
    """The extras of this package that the step needs (see `airflow_provider_mlops.extras`)."""

    def run(self, spec: SpecT, workspace: Workspace) -> ResultT:
        """Run the step in this process.

        Raises
        ------
        MissingExtraError
            If an extra that the step needs is not installed. It is raised before any work.
        """
        self.check_extras()
        return self.function(spec, workspace)

    def check_extras(self) -> None:
        """Check that the extras that the step needs are installed in this environment.

        Raises
        ------
        MissingExtraError
            If one is missing.
        """
        require(f"The step {self.name}", *self.extras)

    def parse(self, fields: dict[str, Any]) -> SpecT:
        """Turn fields into the step's Spec.

        Raises
        ------
        InvalidSpecError
            If a field is invalid; it names the first one.
        """
        try:
            return self.spec.model_validate(fields)
        except ValidationError as error:
            errors = error.errors(include_url=False)
            # A misspelled field is missing under its right name too, and the misspelling is the cause.
            misspelled = [details for details in errors if details["type"] == "extra_forbidden"]
            raise invalid((misspelled or errors)[0], self.spec) from error


def load(name: str) -> Step[Any, Any]:
    """Import and return the step called `name`.

    Raises
    ------
    InvalidSpecError
        If there is no step of that name.
    """
    if name not in STEPS:
        raise InvalidSpecError("step", name, f"it must be the name of a step. {suggest(name, STEPS)}")
    module = importlib.import_module(f"airflow_provider_mlops.lifecycle.{name}.step")
    return cast("Step[Any, Any]", module.STEP)


def invalid(details: ErrorDetails, spec: type[BaseModel]) -> InvalidSpecError:
    """Return the error of this package for one of pydantic's errors.

    Parameters
    ----------
    details
        One of the errors of a ValidationError.
    spec
        The model that was validated.
    """
    place = _locate(details["loc"], spec)
    value = details["input"]
    cause = details.get("ctx", {}).get("error")
    if isinstance(cause, FieldError):
        if place.has_inside(cause.field):
            value = _value_of(cause.field, value, place.models)
            place.path.append(cause.field)
        return InvalidSpecError(place.field, value, str(cause))
    hint = hint_of(details, place.path[-1] if place.path else "", place.annotation, place.models)
    if details["type"] == "missing":
        value = None
    if details["type"].startswith("union_tag"):
        place.path.append("kind")
        value = value.get("kind") if isinstance(value, Mapping) else value
    return InvalidSpecError(place.field, value, hint)


@dataclass
class _Place:
    """The place of an error within a spec, as the user wrote it."""

    path: list[str]
    annotation: Any
    models: list[type[BaseModel]]

    @property
    def field(self) -> str:
        return ".".join(self.path) or "spec"

    def has_inside(self, field: str) -> bool:
        """Return whether `field` is a part of this place; otherwise a validator of the field itself has raised."""
        if not field or any(field.partition(".")[0] in model.model_fields for model in self.models):
            return bool(field)
        names = [name for name in self.path if not name.isdigit()]
        return not names or names[-1] != field


def _locate(loc: Iterable[str | int], spec: type[BaseModel]) -> _Place:
    place = _Place([], None, [spec])
    for part in loc:
        of_this_kind = [model for model in place.models if part in kinds_of(model)]
        if of_this_kind:
            # The tag of a union is not something the user wrote.
            place.models = of_this_kind
            continue
        fields = [model.model_fields[part] for model in place.models if part in model.model_fields]
        if isinstance(part, str) and not place.models and _is_branch(part):
            continue
        place.path.append(str(part))
        if fields:
            place.annotation = fields[0].annotation
            place.models = [model for field in fields for model in models_in(field.annotation)]
    return place


def _is_branch(part: str) -> bool:
    """Return whether pydantic has named a branch of a union of types here."""
    return "[" in part or part in ("str", "int", "float", "bool", "timedelta", "datetime", "date", "none")


def _value_of(field: str, given: Any, models: list[type[BaseModel]]) -> Any:
    for name in field.split("."):
        if isinstance(given, Mapping):
            infos = [model.model_fields[name] for model in models if name in model.model_fields]
            default = infos[0].get_default(call_default_factory=True) if infos and not infos[0].is_required() else None
            given = given.get(name, default)
        elif isinstance(given, BaseModel):
            given = getattr(given, name, None)
    return given
