"""User code that a step calls: a function, or its import path.

A function is sent to another process as its import path if it has one, and otherwise as its source. A function written
in a DAG file therefore needs no package around it, but it must import or define everything it uses inside itself.
"""

from __future__ import annotations

import builtins
import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any, Self, cast

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidatorFunctionWrapHandler, model_validator

from airflow_provider_mlops.data.names import did_you_mean
from airflow_provider_mlops.errors import FieldError, InvalidSpecError
from airflow_provider_mlops.lifecycle.user_source import SourceError, source_of, undefined_names

_NOT_CODE = "it must be a function, or an import path of the form 'package.module:function'"


class UserCode(BaseModel):
    """A user's function, given as an import path such as `"my_team.features:build"` or as the function itself.

    >>> UserCode.model_validate("math:hypot").resolve()(3, 4)
    5.0
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    import_path: str | None = Field(default=None, description="Import path, `package.module:function`.")
    source: str | None = Field(default=None, description="Source of the function, if it has no import path.")
    name: str | None = Field(default=None, description="Name of the function in `source`.")

    _callable: Callable[..., Any] | None = PrivateAttr(default=None)

    @model_validator(mode="wrap")
    @classmethod
    def _accept(cls, value: Any, handler: ValidatorFunctionWrapHandler) -> Self:
        if isinstance(value, str):
            module, _, name = value.partition(":")
            if not all(part.isidentifier() for part in (*module.split("."), *name.split("."))):
                raise FieldError("", "an import path must have the form 'package.module:function'")
            return cast("Self", handler({"import_path": value}))
        if callable(value) and not isinstance(value, cls):
            code = cast("Self", handler(_describe(value)))
            code._callable = value
            return code
        if not isinstance(value, Mapping | cls):
            raise FieldError("", _NOT_CODE)
        code = cast("Self", handler(value))
        if (code.import_path is None) == (code.source is None or code.name is None):
            raise FieldError("", _NOT_CODE)
        return code

    def resolve(self, field: str = "user code") -> Callable[..., Any]:
        """Return the function itself.

        Parameters
        ----------
        field
            Name of the field that an error names.

        Raises
        ------
        InvalidSpecError
            If it cannot be imported, or if its source uses names that it does not define.
        """
        if self._callable is not None:
            return self._callable
        if self.import_path is not None:
            imported = import_object(self.import_path, field)
            if not callable(imported):
                raise InvalidSpecError(
                    field, self.import_path, f"it must name a function, not an object of type {type(imported).__name__}"
                )
            return cast("Callable[..., Any]", imported)
        assert self.source is not None
        assert self.name is not None
        undefined = [name for name in undefined_names(self.source) if not hasattr(builtins, name)]
        if undefined:
            raise InvalidSpecError(
                field,
                self.name,
                f"the function uses names that are defined outside of it: {', '.join(undefined)}. Import or define "
                "them inside the function, or move it to a module and give its import path 'package.module:function'",
            )
        namespace: dict[str, Any] = {"__name__": "user_code"}
        exec(compile(self.source, f"<{self.name}>", "exec"), namespace)
        return cast("Callable[..., Any]", namespace[self.name])

    def check(self, field: str, *offered: str) -> tuple[str, ...]:
        """Return the offered arguments that the function takes; all of them if it has `**kwargs`.

        Parameters
        ----------
        field
            Name of the field that an error names.
        offered
            Names of the arguments that the step can pass.

        Raises
        ------
        InvalidSpecError
            If there is no such function, or if it requires an argument that is not offered.

        Examples
        --------
        >>> UserCode.model_validate("textwrap:dedent").check("code", "text", "seed")
        ('text',)
        """
        function = self.resolve(field)
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError) as error:
            raise InvalidSpecError(
                field, str(self), "its signature cannot be read. Wrap it in a function of your own"
            ) from error
        kinds = {parameter.kind for parameter in parameters}
        if inspect.Parameter.POSITIONAL_ONLY in kinds or kinds == {inspect.Parameter.VAR_POSITIONAL}:
            raise InvalidSpecError(
                field,
                str(self),
                "the function must accept keyword arguments, so it cannot have positional-only parameters or only "
                f"*args. It may have the parameters {', '.join(sorted(offered))}",
            )
        named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        missing = [p.name for p in named if p.default is p.empty and p.name not in offered]
        if missing:
            raise InvalidSpecError(
                field,
                str(self),
                f"the function requires {', '.join(missing)}, which this step does not pass. It may take "
                f"{', '.join(sorted(offered))}",
            )
        if inspect.Parameter.VAR_KEYWORD in kinds:
            return offered
        return tuple(p.name for p in named if p.name in offered)

    def call(self, **offered: Any) -> Any:
        """Call the function with the offered arguments that it takes; with all of them if it has `**kwargs`.

        Raises
        ------
        InvalidSpecError
            If it requires an argument that is not offered.
        """
        taken = self.check("user code", *offered)
        return self.resolve()(**{name: offered[name] for name in taken})

    def text_digest(self) -> str | None:
        """Return a hash of the code's text, or None if the text cannot be read.

        For an import path, the text is that of the whole module, without the modules that it imports.
        """
        if self.source is not None:
            text = self.source
        else:
            try:
                text = inspect.getsource(sys.modules[self.resolve().__module__])
            except (OSError, TypeError, KeyError, AttributeError):
                return None
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def __eq__(self, other: object) -> bool:
        # A function equals the code by which another process loads it.
        return isinstance(other, UserCode) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[str | None, str | None, str | None]:
        return self.import_path, self.source, self.name

    def __str__(self) -> str:
        return self.import_path or self.name or "user code"


def import_object(path: str, field: str) -> Any:
    """Import and return the object at `package.module:name` or `package.module.name`.

    Parameters
    ----------
    path
        Import path.
    field
        Name of the field that an error names.

    Raises
    ------
    InvalidSpecError
        If there is no such object.
    """
    module_name, separator, name = path.partition(":")
    if not separator:
        module_name, _, name = path.rpartition(".")
    if not all(part.isidentifier() for part in f"{module_name or name}.{name}".split(".")):
        raise InvalidSpecError(field, path, "an import path must have the form 'package.module:name'")
    try:
        imported: Any = importlib.import_module(module_name) if module_name else None
    except ImportError as error:
        raise InvalidSpecError(
            field, path, f"the module cannot be imported ({error}). Install it where the step runs, or correct the path"
        ) from error
    holder = imported
    for part in name.split("."):
        holder, imported = imported, getattr(imported, part, None)
    if imported is None:
        names = [name for name in dir(holder) if not name.startswith("_")] if holder is not None else []
        raise InvalidSpecError(
            field,
            path,
            f"{module_name or 'the path'} has no attribute {name}. "
            + (did_you_mean(name.rpartition(".")[2], names) or "Write the path as 'package.module:name'"),
        )
    return imported


def _describe(function: Callable[..., Any]) -> dict[str, str]:
    """Return how another process loads the function. Raise FieldError if it cannot."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str):
        module = name = ""
    if "<lambda>" in name.rpartition(".")[2]:
        raise FieldError("", "a lambda cannot be loaded by another process. Write a function with def")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise FieldError("", f"{name} must not be asynchronous. Write it with def instead of async def")
    # Airflow loads DAG files under generated module names, which no other process can import.
    if module not in ("", "__main__") and not module.startswith("unusual_prefix_") and "<" not in name:
        importable: Any = sys.modules.get(module)
        for part in name.split("."):
            importable = getattr(importable, part, None)
        if importable is function:
            return {"import_path": f"{module}:{name}"}
    if not inspect.isfunction(function):
        raise FieldError(
            "",
            f"{function!r:.100} cannot be loaded by another process. Wrap it in a function that you define with def, "
            "or give an import path 'package.module:function'",
        )
    try:
        name, source = source_of(function)
    except SourceError as error:
        raise FieldError("", str(error)) from error
    return {"name": name, "source": source}
