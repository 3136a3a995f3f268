"""Write `airflow_provider_mlops/operators/arguments.pyi`: the arguments of all step operators, for type checkers.

An operator's arguments are the fields of its step's Spec, which a type checker cannot see. Besides a value of its
type, a field accepts a template and the output of another task. Run it with `make stubs` after a Spec has changed.
"""

from __future__ import annotations

import subprocess
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import BaseModel

from airflow_provider_mlops.decorators.steps import ARGUMENTS
from airflow_provider_mlops.lifecycle.step import load
from airflow_provider_mlops.lifecycle.user_code import UserCode
from airflow_provider_mlops.step_names import STEPS

TARGET = Path(__file__).parents[1] / "airflow_provider_mlops" / "operators" / "arguments.pyi"

HEADER = '''"""The arguments of the step operators and decorators. Written by `make stubs`: do not edit."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal, Required, TypeAlias

from airflow.sdk import XComArg

from airflow_provider_mlops.operators.task_arguments import StepSettings
'''

ALIAS = '''
Rendered: TypeAlias = str | XComArg
"""A template, or the output of another task."""
'''


class Writer:
    """Collects the text of the file and the models that it imports."""

    def __init__(self) -> None:
        self.models: dict[str, type[BaseModel]] = {}
        self.classes: list[str] = []

    def add(self, step: str) -> None:
        """Add the classes of a step."""
        fields = load(step).spec.model_fields
        name = step.title().replace("_", "")
        optional = {key: self.field(field.annotation) for key, field in fields.items() if not field.is_required()}
        required = {key: self.field(field.annotation) for key, field in fields.items() if field.is_required()}
        self.write(f"{name}Settings", "StepSettings", f"The optional fields of the step `{step}`.", optional)
        self.write(
            f"{name}Arguments",
            f"{name}Settings",
            f"The arguments of the operator of the step `{step}`.",
            {key: f"Required[{text}]" for key, text in {"task_id": "str", **required}.items()},
        )
        if step in ARGUMENTS:
            about = f"The arguments of the decorator `@task.mlops_{step}` and of the function that it returns."
            self.write(f"{name}TaskArguments", f"{name}Settings", about, {"task_id": "str", **required})

    def write(self, name: str, base: str, about: str, fields: Mapping[str, str]) -> None:
        """Add one TypedDict."""
        lines = [f"class {name}({base}, total=False):", f'    """{about}"""', ""]
        self.classes.append("\n".join([*lines, *(f"    {key}: {text}" for key, text in fields.items())]))

    def field(self, annotation: object) -> str:
        """Return the type of what users write for a field."""
        parts = [part for part in self.parts(annotation) if part not in ("str", "None")]
        end = ["None"] if "None" in self.parts(annotation) else []
        return " | ".join(dict.fromkeys([*parts, "Rendered", *end]))

    def parts(self, annotation: object) -> list[str]:
        """Return the members of the union."""
        origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is typing.Annotated:
            return self.parts(arguments[0])
        if origin in (typing.Union, types.UnionType):
            return [part for argument in arguments for part in self.parts(argument)]
        if origin is typing.Literal:
            return [f"Literal[{', '.join(repr(argument) for argument in arguments)}]"]
        if origin in (tuple, list):
            return [f"Sequence[{self.field(arguments[0])}]"]
        if origin is dict:
            return [f"Mapping[str, {self.field(arguments[1])}]"]
        if annotation is type(None):
            return ["None"]
        if annotation is timedelta:
            return ["timedelta", "float"]
        if annotation in (str, int, float, bool):
            return [typing.cast("type", annotation).__name__]
        if annotation is datetime:
            return ["datetime"]
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            code = ["Callable[..., object]"] if annotation is UserCode else []
            return [self.name(annotation), *code, "Mapping[str, object]"]
        return ["object"]

    def name(self, model: type[BaseModel]) -> str:
        """Return the name under which a model is imported. Of two with the same name, the second gets a prefix."""
        name = model.__name__
        if self.models.setdefault(name, model) is not model:
            name = model.__module__.split(".")[-2].title() + name
            self.models[name] = model
        return name

    def text(self) -> str:
        """Return the text of the file, formatted."""
        imports = [
            f"from {model.__module__} import {model.__name__}" + (f" as {name}" if name != model.__name__ else "")
            for name, model in self.models.items()
        ]
        source = "\n".join([HEADER, *imports, ALIAS, *self.classes])
        return run_ruff(["format"], run_ruff(["check", "--select", "I,F401", "--fix", "--quiet"], source))


def run_ruff(arguments: Sequence[str], source: str) -> str:
    """Pass source through ruff."""
    command = [sys.executable, "-m", "ruff", *arguments, "--stdin-filename", str(TARGET), "-"]
    return subprocess.run(
        command, input=source, capture_output=True, text=True, check=True, cwd=TARGET.parents[2]
    ).stdout


def generate() -> str:
    """Return what the file must contain."""
    writer = Writer()
    for step in STEPS:
        writer.add(step)
    return writer.text()


if __name__ == "__main__":
    TARGET.write_text(generate())
