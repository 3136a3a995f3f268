"""The fields of all steps: one way to refuse a value, and a description for each."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from types import FunctionType

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from airflow_provider_mlops.lifecycle.spec_errors import models_in
from airflow_provider_mlops.lifecycle.step import load
from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan
from airflow_provider_mlops.step_names import STEPS

PACKAGE = "airflow_provider_mlops"


def models_of_all_steps() -> list[type[BaseModel]]:
    """Return the Spec of each step, and all models that a field refers to."""
    models: dict[type[BaseModel], None] = {}
    waiting: list[type[BaseModel]] = [RolloutPlan, *(load(name).spec for name in STEPS)]
    while waiting:
        model = waiting.pop()
        if model in models:
            continue
        models[model] = None
        waiting += [base for base in model.__mro__ if _is_ours(base)]
        waiting += [part for field in model.model_fields.values() for part in models_in(field.annotation)]
    return sorted(models, key=lambda model: f"{model.__module__}.{model.__qualname__}")


def _is_ours(base: type) -> bool:
    return issubclass(base, BaseModel) and base.__module__.startswith(PACKAGE)


def validators(model: type[BaseModel]) -> dict[str, FunctionType]:
    """Return the functions of a model's validators by name."""
    decorators = model.__pydantic_decorators__
    groups = (
        decorators.validators,
        decorators.field_validators,
        decorators.root_validators,
        decorators.model_validators,
    )
    functions = {}
    for name, decorator in [item for group in groups for item in group.items()]:
        function = inspect.unwrap(getattr(decorator.func, "__func__", decorator.func))
        if isinstance(function, FunctionType) and function.__module__.startswith(PACKAGE):
            functions[f"{function.__module__}.{function.__qualname__}"] = function
        else:
            assert not model.__module__.startswith(PACKAGE), f"cannot read the validator {name} of {model}"
    return functions


def raised_by(function: FunctionType, seen: set[FunctionType]) -> Iterator[tuple[str, str]]:
    """Yield the errors that a function raises itself or in the functions of its module that it calls."""
    if function in seen:
        return
    seen.add(function)
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    where = f"{function.__module__}.{function.__qualname__}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node.exc is not None:
            error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            yield where, ast.unparse(error)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            called = function.__globals__.get(node.func.id)
            if isinstance(called, FunctionType) and called.__module__ == function.__module__:
                yield from raised_by(called, seen)


def test_validators_raise_only_field_errors() -> None:
    seen: set[FunctionType] = set()
    wrong = [
        f"{where} raises {error}"
        for model in models_of_all_steps()
        for function in validators(model).values()
        for where, error in raised_by(function, seen)
        if error != "FieldError"
    ]
    assert not wrong, "Raise FieldError instead:\n" + "\n".join(sorted(set(wrong)))


def problem_of(field: FieldInfo) -> str | None:
    text = field.description
    if not text:
        return "has no description"
    if not text[0].isupper():
        return f"has a description that does not begin with a capital letter: {text[:60]!r}"
    if not text.endswith("."):
        return f"has a description that does not end with a full stop: {text[-60:]!r}"
    return None


def test_every_field_has_a_description_that_is_a_sentence() -> None:
    wrong = [
        f"{model.__module__}.{model.__qualname__}.{name} {problem}"
        for model in [*models_of_all_steps(), *(load(step).result for step in STEPS)]
        for name, field in model.model_fields.items()
        # The docs say of the field `kind` of a union that it selects the kind.
        if name != "kind" and (problem := problem_of(field))
    ]
    assert not wrong, "\n" + "\n".join(sorted(set(wrong)))


def _refuse(value: int) -> int:
    raise ValueError(f"{value} is too large")


def check_size(value: int) -> int:
    return _refuse(value)


def test_the_walk_finds_errors_in_functions_that_a_validator_calls() -> None:
    assert [error for _, error in raised_by(check_size, set())] == ["ValueError"]


@pytest.mark.parametrize("step", STEPS)
def test_the_walk_reaches_every_spec(step: str) -> None:
    assert load(step).spec in models_of_all_steps()
