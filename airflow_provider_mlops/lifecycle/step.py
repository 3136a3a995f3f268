"""What a step is: a Spec, a Result, and one function from the first to the second."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.workspace import Workspace


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
    run: Callable[[SpecT, Workspace], ResultT]

    def parse(self, fields: dict[str, Any]) -> SpecT:
        """Turn fields into the step's Spec. Raises InvalidSpecError, which names the first wrong field."""
        try:
            return self.spec.model_validate(fields)
        except ValidationError as error:
            raise _first(error, self.spec.model_fields) from error


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
    "rollback",
    "monitor",
)


def load(name: str) -> Step[Any, Any]:
    """The step called `name`: the `STEP` of the module of that name. Raises InvalidSpecError."""
    if name not in STEPS:
        raise InvalidSpecError("step", name, f"use one of {', '.join(STEPS)}")
    module = importlib.import_module(f"airflow_provider_mlops.lifecycle.{name}")
    return cast("Step[Any, Any]", module.STEP)


def _first(error: ValidationError, known: Iterable[str]) -> InvalidSpecError:
    details = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in details["loc"]) or "spec"
    if details["type"] == "missing":
        return InvalidSpecError(field, None, "this field is required")
    if details["type"] == "extra_forbidden":
        close = difflib.get_close_matches(str(details["loc"][-1]), list(known), n=1)
        hint = f"did you mean {close[0]}?" if close and len(details["loc"]) == 1 else "look at the fields of the Spec"
        return InvalidSpecError(field, details["input"], f"there is no such field; {hint}")
    way_out = details["msg"].removeprefix("Value error, ")
    return InvalidSpecError(field, details["input"], way_out[:1].lower() + way_out[1:])
