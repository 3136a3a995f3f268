"""Command-line options that are made from the fields of a dataclass.

A field is described once: its name, type and default in the dataclass, its help and bounds in the field's metadata
(`airflow_provider_mlops.serving.field_help`).
"""

from __future__ import annotations

import dataclasses
import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    NamedTuple,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

import typer

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")
_SCALARS = (str, int, float, bool)
_UNIONS = (Union, types.UnionType)


@dataclasses.dataclass(frozen=True)
class OptionDetails:
    """Facts about an option that only the command line knows.

    Parameters
    ----------
    name
        Name of the option, if it is not that of the field: `--model` for a field `models`.
    environment
        Environment variables that set the option.
    default_factory
        Default of a field that has none.
    default_text
        How the help shows that default.
    is_argument
        Whether the value is given without an option name.
    """

    name: str | None = None
    environment: Sequence[str] = ()
    default_factory: Callable[[], Any] | None = None
    default_text: str | None = None
    is_argument: bool = False


class OptionRow(NamedTuple):
    """One line of a table of options."""

    option: str
    type: str
    default: str
    help: str


def with_fields_of(
    cls: type[T], details: Mapping[str, OptionDetails]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command one option per field of a dataclass.

    The command takes an instance of the dataclass as its first argument, and any options of its own after it.

    Parameters
    ----------
    cls
        The dataclass.
    details
        What to add to the options of some fields, by the name of the field.

    Examples
    --------
    >>> @dataclasses.dataclass
    ... class Greeting:
    ...     name: str = dataclasses.field(default="Ada", metadata={"help": "Whom to greet."})
    >>> @with_fields_of(Greeting, {})
    ... def greet(greeting: Greeting) -> None:
    ...     print("Hello", greeting.name)
    >>> greet(name="Grace")
    Hello Grace
    """
    hints = get_type_hints(cls)
    options = {
        field.name: _parameter(field, hints[field.name], details.get(field.name, OptionDetails()))
        for field in dataclasses.fields(cls)
    }

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]

        def run(**values: Any) -> None:
            chosen = {name: values.pop(name) for name in options}
            converted = {
                name: _convert(name, value, hints[name], details.get(name, OptionDetails()))
                for name, value in chosen.items()
            }
            command(cls(**converted), **values)

        parameters = [*options.values(), *(part.replace(kind=inspect.Parameter.KEYWORD_ONLY) for part in own)]
        run.__name__, run.__doc__, run.__module__ = command.__name__, command.__doc__, command.__module__
        run.__annotations__ = {part.name: part.annotation for part in parameters}
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return run

    return decorate


def option_rows(app: typer.Typer, command: str) -> list[OptionRow]:
    """Return a table of the arguments and options of a command, for the reference pages.

    Parameters
    ----------
    app
        The application.
    command
        Name of the command, such as `serve` or `sample customers`.
    """
    *groups, name = command.split()
    for group in groups:
        app = next(part.typer_instance for part in app.registered_groups if part.name == group and part.typer_instance)
    callback = next(part.callback for part in app.registered_commands if _command_name(part.callback) == name)
    assert callback is not None
    return [_row(parameter) for parameter in inspect.signature(callback, eval_str=True).parameters.values()]


def _command_name(callback: Callable[..., Any] | None) -> str:
    return "" if callback is None else callback.__name__


def _row(parameter: inspect.Parameter) -> OptionRow:
    """Return the line of one parameter of a command."""
    hint, info = get_args(parameter.annotation)
    kinds = [kind for kind in (get_args(hint) if get_origin(hint) in _UNIONS else (hint,)) if kind is not type(None)]
    default = info.show_default if isinstance(info.show_default, str) else parameter.default
    sentences = [info.help]
    if info.envvar:
        variables = [info.envvar] if isinstance(info.envvar, str) else info.envvar
        sentences.append(f"Environment: {', '.join(f'`{name}`' for name in variables)}.")
    return OptionRow(
        option=_say_names(parameter, info),
        type=_say_kind(kinds[0]),
        default="required" if default is inspect.Parameter.empty else _say_default(default),
        help=" ".join(sentences),
    )


def _say_names(parameter: inspect.Parameter, info: Any) -> str:
    if isinstance(info, typer.models.ArgumentInfo):
        return parameter.name.upper()
    # Typer keeps the first name of an option in `default` if the option is part of an annotation.
    names = [name for name in (info.default, *(info.param_decls or ())) if isinstance(name, str)]
    return ", ".join(names[0].split("/")) if names else f"--{parameter.name.replace('_', '-')}"


def _say_kind(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(get_args(kind))
    return {bool: "flag", int: "integer", float: "number", Path: "path", list[str]: "text, repeatable"}.get(
        kind, "text"
    )


def _say_default(default: object) -> str:
    if default is None or default == () or default == []:
        return ""
    if isinstance(default, bool):
        return "on" if default else "off"
    return str(default)


def _parameter(field: dataclasses.Field[Any], hint: Any, detail: OptionDetails) -> inspect.Parameter:
    """Return a field as a parameter that Typer understands."""
    metadata, name = field.metadata, detail.name or f"--{field.name.replace('_', '-')}"
    kind, is_optional = _kind(hint)
    default: Any = () if kind == list[str] else field.default
    if default is dataclasses.MISSING:
        default = inspect.Parameter.empty if detail.default_factory is None else None
    described: dict[str, Any] = {
        "help": metadata.get("help"),
        "metavar": metadata.get("metavar"),
        "envvar": list(detail.environment) or None,
    }
    described["min"], described["max"] = metadata.get("min"), metadata.get("max")
    described = {key: value for key, value in described.items() if value is not None}
    if detail.is_argument:
        info: Any = typer.Argument(**(described | {"metavar": field.name.upper()}))
    else:
        names = [f"{name}/--no-{name[2:]}"] if default is True else [name]
        has_default = not (default is None or default == ())
        info = typer.Option(*names, **described, show_default=detail.default_text or has_default)
    is_optional = is_optional or default is None
    return inspect.Parameter(
        field.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=list(default) if kind == list[str] else default,
        annotation=Annotated[kind | None if is_optional else kind, info],
    )


def _kind(hint: Any) -> tuple[Any, bool]:
    """Return the type that Typer parses for a type hint, and whether None is allowed."""
    if get_origin(hint) in _UNIONS:
        members = get_args(hint)
        return next(member for member in members if member in _SCALARS), type(None) in members
    return (hint, False) if hint in _SCALARS else (list[str], False)


def _convert(name: str, value: Any, hint: Any, detail: OptionDetails) -> Any:
    if value in (None, ""):
        # An environment variable that is set to nothing counts as not set.
        return detail.default_factory() if detail.default_factory else None
    if not isinstance(value, list):
        return value
    if get_origin(hint) is tuple:
        return tuple(value)
    return dict(_pair(text, detail.name or f"--{name}") for text in value)


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise typer.BadParameter(f"{text!r} must have the form NAME=COLUMN", param_hint=option)
    return name, value
