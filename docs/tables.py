"""Write the tables of fields, results and options into the pages, from the Specs and the command line.

A page has markers, and this script writes the text between them. So the tables are there wherever the page is shown:

    <!-- fields of train -->
    <!-- end -->

    <!-- results of train -->
    <!-- end -->

    <!-- options of serve -->
    <!-- end -->

Run it with `make tables`; a test checks that the pages are up to date. A field without a description is an error.
"""

from __future__ import annotations

import enum
import importlib
import inspect
import re
import types
import typing
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from airflow_provider_mlops.cli.app import app
from airflow_provider_mlops.cli.options import option_rows

DOCS = Path(__file__).parent
MARKER = re.compile(r"<!-- (fields|results|options) of (\w+) -->\n.*?<!-- end -->", re.DOTALL)

# Described on pages of their own, so they are named here and not spelled out again.
SHARED = {"Dataset", "ModelVersion", "UserCode", "Deployment"}


def type_name(annotation: Any) -> str:
    """Return a type as a reader of Python writes it.

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
        return f"{getattr(origin, '__name__', origin)}[{', '.join(type_name(argument) for argument in arguments)}]"
    return getattr(annotation, "__name__", str(annotation))


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the pydantic models that an annotation mentions, in order."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in typing.get_args(annotation) for model in models_in(argument)]


def default_name(field: FieldInfo) -> str:
    """Return the default as a reader writes it."""
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
    return "`" + ('""' if value == "" else repr(value)) + "`"


def table(model: type[BaseModel], *, with_default: bool) -> str:
    """Return the fields of a model as a Markdown table. Raises ValueError for a field without a description."""
    header = ("Field", "Type", "Default", "Meaning") if with_default else ("Key", "Type", "Meaning")
    rows: list[tuple[str, ...]] = [header, tuple("---" for _ in header)]
    for name, field in model.model_fields.items():
        if not field.description and name != "kind":
            raise ValueError(f"{model.__name__}.{name} has no description")
        meaning = field.description or "Selects this kind."
        cells = (f"`{name}`", f"`{type_name(field.annotation)}`", default_name(field), meaning)
        rows.append(cells if with_default else (cells[0], cells[1], cells[3]))
    return "\n".join(
        "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in row) + " |" for row in rows
    )


def fields(step: str) -> str:
    """Return the tables of a step's Spec and of every model that it refers to."""
    spec: type[BaseModel] = importlib.import_module(f"airflow_provider_mlops.lifecycle.{step}.step").STEP.spec
    parts = [table(spec, with_default=True)]
    seen: set[type[BaseModel]] = {spec}
    waiting = [model for field in spec.model_fields.values() for model in models_in(field.annotation)]
    while waiting:
        model = waiting.pop(0)
        if model in seen or model.__name__ in SHARED:
            continue
        seen.add(model)
        introduction = (inspect.getdoc(model) or "").split("\n\n")[0] if "__doc__" in vars(model) else ""
        parts.append(f"**`{model.__name__}`**: {' '.join(introduction.split())}")
        parts.append(table(model, with_default=True))
        waiting += [found for field in model.model_fields.values() for found in models_in(field.annotation)]
    return "\n\n".join(parts)


def results(step: str) -> str:
    """Return the table of a step's Result."""
    result: type[BaseModel] = importlib.import_module(f"airflow_provider_mlops.lifecycle.{step}.step").STEP.result
    return table(result, with_default=False)


def options(command: str) -> str:
    """Return the table of the options of a command of `airflow-mlops`."""
    rows = [("Option", "Default", "Meaning"), ("---", "---", "---")]
    rows += [
        (f"`{row.option}`", f"`{row.default}`" if row.default else "", row.help) for row in option_rows(app, command)
    ]
    return "\n".join(
        "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in row) + " |" for row in rows
    )


def updated(text: str) -> str:
    """Return a page with all its tables written again."""

    def write(match: re.Match[str]) -> str:
        kind, name = match.groups()
        content = {"fields": fields, "results": results, "options": options}[kind](name)
        return f"<!-- {kind} of {name} -->\n\n{content}\n\n<!-- end -->"

    return MARKER.sub(write, text)


def pages() -> list[Path]:
    """Return the pages that have markers."""
    return [
        path for path in sorted(DOCS.rglob("*.md")) if "_build" not in path.parts and MARKER.search(path.read_text())
    ]


if __name__ == "__main__":
    for page in pages():
        page.write_text(updated(page.read_text()))
