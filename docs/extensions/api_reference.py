"""Directives that write reference pages from the code, so that they cannot disagree with it.

`{provider-classes} operators`
: every class of a folder of the Airflow integration, with its import, its docstring and, for operators, its XComs.

`{python-modules} airflow_provider_mlops.stats.drift`
: the members of a module, or of every module of a package, by autodoc.

`{command-line}`
: the commands of `airflow-mlops` with their options.

`{http-routes}`
: the routes of the gateway, from its OpenAPI document.

`{configuration}` and `{connections}`
: the section of `airflow.cfg` and the connection types, from `get_provider_info`.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any

import typer.main
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from airflow_provider_mlops import __version__
from airflow_provider_mlops.get_provider_info import get_provider_info

PACKAGE = "airflow_provider_mlops"


def row(*cells: object) -> str:
    """Return one row of a Markdown table."""
    return "| " + " | ".join(" ".join(str(cell).split()).replace("|", "\\|") for cell in cells) + " |"


def table(header: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    """Return a Markdown table."""
    return "\n".join([row(*header), row(*("---" for _ in header)), *(row(*cells) for cells in rows)])


def public_classes(kind: str) -> Iterator[type]:
    """Yield the classes that the modules of a folder define, in the order of the provider's metadata."""
    for entry in get_provider_info()[kind]:
        for name in entry["python-modules"]:
            module = importlib.import_module(name)
            for _, value in inspect.getmembers(module, inspect.isclass):
                if value.__module__ == name and not value.__name__.startswith("_"):
                    yield value


class ProviderClasses(SphinxDirective):
    """Write the classes of one folder of the Airflow integration."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        kind = self.arguments[0]
        parts = [part for found in public_classes(kind) for part in self.describe(kind, found)]
        return self.parse_text_to_nodes("\n\n".join(parts), allow_section_headings=True)

    def describe(self, kind: str, found: type) -> Iterator[str]:
        """Yield the paragraphs about one class."""
        yield f"## {found.__name__}"
        yield f"```python\nfrom {PACKAGE}.{kind} import {found.__name__}\n```"
        step = getattr(found, "definition", None)
        if step is None:
            yield f"```{{eval-rst}}\n.. autoclass:: {found.__module__}.{found.__name__}\n```"
            return
        yield (inspect.getdoc(found) or "").split("\n\n")[0]
        yield f"Fields: [step `{step.name}`](steps/{step.name}.md#fields)."
        results = [(f"`{name}`", field.description or "") for name, field in step.result.model_fields.items()]
        yield table(("XCom", "Meaning"), results)


class PythonModules(SphinxDirective):
    """Write the members of a module, or of all modules of a package."""

    required_arguments = 1
    optional_arguments = 20

    def run(self) -> list[nodes.Node]:
        names = [name for argument in self.arguments for name in modules_of(argument)]
        options = "   :members:\n   :undoc-members:\n   :member-order: bysource"
        parts = [
            f"## `{name.rpartition('.')[2]}`\n\nModule `{name}`.\n\n"
            f"```{{eval-rst}}\n.. automodule:: {name}\n{options}\n```"
            for name in names
        ]
        return self.parse_text_to_nodes("\n\n".join(parts), allow_section_headings=True)


def modules_of(name: str) -> list[str]:
    """Return the modules of a package, or the module itself."""
    module = importlib.import_module(name)
    if not hasattr(module, "__path__"):
        return [name]
    return [f"{name}.{info.name}" for info in pkgutil.iter_modules(module.__path__) if not info.ispkg]


class CommandLine(SphinxDirective):
    """Write the commands of `airflow-mlops`."""

    def run(self) -> list[nodes.Node]:
        app = importlib.import_module(f"{PACKAGE}.cli.app").app
        parts = [part for names, command in commands(typer.main.get_command(app)) for part in describe(names, command)]
        return self.parse_text_to_nodes("\n\n".join(parts), allow_section_headings=True)


def commands(command: Any, names: tuple[str, ...] = ("airflow-mlops",)) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command below `command` with the words that call it."""
    children = getattr(command, "commands", {})
    if not children:
        yield names, command
    for name, child in children.items():
        yield from commands(child, (*names, name))


def describe(names: tuple[str, ...], command: Any) -> Iterator[str]:
    """Yield the paragraphs about one command."""
    yield f"## `{' '.join(names)}`"
    yield (command.help or "").strip()
    rows: list[tuple[object, ...]] = []
    for parameter in command.params:
        if parameter.name == "help":
            continue
        is_argument = parameter.param_type_name == "argument"
        name = (parameter.name or "").upper() if is_argument else ", ".join(parameter.opts)
        rows.append((f"`{name}`", default(parameter), getattr(parameter, "help", "") or ""))
    if rows:
        yield table(("Argument or option", "Default", "Meaning"), rows)


def default(parameter: Any) -> str:
    """Return the default of an option as a reader writes it."""
    if parameter.required:
        return "*required*"
    value = parameter.default() if callable(parameter.default) else parameter.default
    return "" if value in (None, (), [], "") or "Sentinel" in type(value).__name__ else f"`{value}`"


class HttpRoutes(SphinxDirective):
    """Write the routes of the gateway."""

    def run(self) -> list[nodes.Node]:
        document = importlib.import_module(f"{PACKAGE}.serving.protocols.openapi").document(__version__)
        rows: list[tuple[object, ...]] = []
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                if method == "parameters":
                    continue
                key = _key(operation.get("security"))
                statuses = ", ".join(sorted(operation.get("responses", {})))
                rows.append((f"`{method.upper()} {path}`", operation.get("summary", ""), key, statuses))
        return self.parse_text_to_nodes(table(("Route", "Purpose", "Needs a key", "Status codes"), rows))


def _key(security: list[Any] | None) -> str:
    """Return when a route needs a key."""
    if security is None:
        return "never"
    return "if predictions need one" if {} in security else "always"


class Configuration(SphinxDirective):
    """Write the options of the section `[mlops]`."""

    def run(self) -> list[nodes.Node]:
        rows: list[tuple[object, ...]] = []
        for name, option in get_provider_info()["config"]["mlops"]["options"].items():
            variable = f"AIRFLOW__MLOPS__{name.upper()}"
            text = option["description"].replace("``", "`")
            rows.append((f"`{name}`", f"`{variable}`", text, f"`{option['example']}`"))
        return self.parse_text_to_nodes(table(("Option", "Environment variable", "Meaning", "Example"), rows))


class Connections(SphinxDirective):
    """Write the connection types with the labels of their forms."""

    def run(self) -> list[nodes.Node]:
        rows: list[tuple[object, ...]] = []
        for entry in get_provider_info()["connection-types"]:
            behavior = entry["ui-field-behaviour"]
            kind = f"`{entry['connection-type']}`"
            for field, label in behavior["relabeling"].items():
                rows.append((kind, label, f"`{field}`", behavior["placeholders"].get(field, "")))
            for field, about in entry.get("conn-fields", {}).items():
                rows.append((kind, about["label"], f"extra `{field}`", about.get("description", "")))
        return self.parse_text_to_nodes(table(("Connection type", "Label in the form", "Field", "Meaning"), rows))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("provider-classes", ProviderClasses)
    app.add_directive("python-modules", PythonModules)
    app.add_directive("command-line", CommandLine)
    app.add_directive("http-routes", HttpRoutes)
    app.add_directive("configuration", Configuration)
    app.add_directive("connections", Connections)
    return {"version": "1", "parallel_read_safe": True}
