"""A directive that writes the fields of a step from its Spec and Result, so that they are documented once.

In a page: a fence `{step-fields} train` lists the Spec of `lifecycle/train/spec.py` and every model that it
refers to; `{step-results} train` lists what the step returns, which are the XCom keys of its operator.
A field without a description is a warning, and with `-W` an error.
"""

from __future__ import annotations

import enum
import importlib
import inspect
import types
import typing
from datetime import timedelta
from typing import Any

from docutils import nodes
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

logger = logging.getLogger(__name__)


def type_name(annotation: Any) -> str:
    """A type as a reader of Python says it.

    >>> type_name(tuple[str, ...] | None)
    'tuple[str, ...] or None'
    >>> type_name(typing.Literal["fail", "warn"])
    '"fail" or "warn"'
    """
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return type_name(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(type_name(argument) for argument in arguments)
    if origin is typing.Literal:
        return " or ".join(f'"{value}"' if isinstance(value, str) else str(value) for value in arguments)
    if annotation is Ellipsis:
        return "..."
    if annotation is type(None):
        return "None"
    if origin is not None:
        return f"{getattr(origin, '__name__', origin)}[{', '.join(type_name(a) for a in arguments)}]"
    if isinstance(annotation, typing.TypeAliasType if hasattr(typing, "TypeAliasType") else ()):
        return annotation.__name__
    return getattr(annotation, "__name__", str(annotation))


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """The pydantic models that an annotation mentions, in order."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in typing.get_args(annotation) for model in models_in(argument)]


def default_name(field: FieldInfo) -> str:
    """The default as a reader writes it; empty for a field that is required."""
    if field.is_required():
        return "*required*"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, timedelta):
        return f"`{value}`"
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, BaseModel):
        return f"`{type(value).__name__}()`"
    if isinstance(value, tuple) and value and all(isinstance(item, BaseModel) for item in value):
        return ", ".join(f"`{type(item).__name__}`" for item in value)
    shown = '""' if value == "" else repr(value)
    return f"`{shown}`"


# Documented on a page of their own, so they are named but not spelt out again.
SHARED = {"Dataset", "ModelVersion", "UserCode", "Deployment"}


def table(model: type[BaseModel], *, with_default: bool, where: tuple[str, int]) -> str:
    """The fields of a model as a Markdown table."""
    header = ("Field", "Type", "Default", "Meaning") if with_default else ("Key", "Type", "Meaning")
    rows = [header, tuple("---" for _ in header)]
    for name, field in model.model_fields.items():
        if not field.description and name != "kind":
            logger.warning("%s.%s has no description", model.__name__, name, location=where)
        meaning = field.description or "Tells which of the kinds this is."
        cells = (f"`{name}`", f"`{type_name(field.annotation)}`", default_name(field), meaning)
        rows.append(cells if with_default else (cells[0], cells[1], cells[3]))
    return "\n".join("| " + " | ".join(cell_text(cell) for cell in row) + " |" for row in rows)


def cell_text(text: str) -> str:
    """Text that stays in its table cell."""
    return " ".join(text.split()).replace("|", "\\|")


class StepFields(SphinxDirective):
    """`{step-fields} STEP`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        module = importlib.import_module(f"airflow_provider_mlops.lifecycle.{self.arguments[0]}.step")
        spec: type[BaseModel] = module.STEP.spec
        parts = [table(spec, with_default=True, where=self.get_location_tuple())]
        seen: set[type[BaseModel]] = {spec}
        waiting = [model for field in spec.model_fields.values() for model in models_in(field.annotation)]
        while waiting:
            model = waiting.pop(0)
            if model in seen or model.__name__ in SHARED:
                continue
            seen.add(model)
            introduction = (inspect.getdoc(model) or "").split("\n\n")[0] if "__doc__" in vars(model) else ""
            parts.append(f"**`{model.__name__}`** – {' '.join(introduction.split())}")
            parts.append(table(model, with_default=True, where=self.get_location_tuple()))
            waiting += [found for field in model.model_fields.values() for found in models_in(field.annotation)]
        return self.parse_text_to_nodes("\n\n".join(parts))

    def get_location_tuple(self) -> tuple[str, int]:
        """The page and the line, for warnings."""
        return (self.env.docname, self.lineno)


class StepResults(StepFields):
    """`{step-results} STEP`."""

    def run(self) -> list[nodes.Node]:
        module = importlib.import_module(f"airflow_provider_mlops.lifecycle.{self.arguments[0]}.step")
        text = table(module.STEP.result, with_default=False, where=self.get_location_tuple())
        return self.parse_text_to_nodes(text)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("step-fields", StepFields)
    app.add_directive("step-results", StepResults)
    return {"version": "1", "parallel_read_safe": True}
