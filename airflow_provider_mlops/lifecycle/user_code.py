"""Code that people bring to a step: an import path, or a function of their own.

A function travels to another process by its import path where it has one, and otherwise by its
source, so that a function written in a DAG file needs no package around it. By its source it comes alone: what it
uses, it imports or defines inside itself.
"""

from __future__ import annotations

import builtins
import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable
from typing import Any, Self, cast

from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidatorFunctionWrapHandler, model_validator

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.user_source import SourceError, outside_names, source_of


class UserCode(BaseModel):
    """A function of the user's: `"my_team.features:build"`, or any function with a name.

    >>> UserCode.model_validate("math:hypot").resolve()(3, 4)
    5.0
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    import_path: str | None = None
    source: str | None = None
    name: str | None = None

    _callable: Callable[..., Any] | None = PrivateAttr(default=None)

    @model_validator(mode="wrap")
    @classmethod
    def _accept(cls, value: Any, handler: ValidatorFunctionWrapHandler) -> Self:
        if isinstance(value, str):
            module, _, name = value.partition(":")
            if not all(part.isidentifier() for part in (*module.split("."), *name.split("."))):
                raise ValueError("write it as 'package.module:function'")
            return cast("Self", handler({"import_path": value}))
        if callable(value) and not isinstance(value, cls):
            code = cast("Self", handler(_describe(value)))
            code._callable = value
            return code
        code = cast("Self", handler(value))
        if (code.import_path is None) == (code.source is None or code.name is None):
            raise ValueError("give a function, or an import path 'package.module:function'")
        return code

    def resolve(self, field: str = "user code") -> Callable[..., Any]:
        """The function itself.

        Raises InvalidSpecError, which names `field`, when it cannot be imported, or when its source uses names that it
        does not define.
        """
        if self._callable is not None:
            return self._callable
        if self.import_path is not None:
            found = import_object(self.import_path, field)
            if not callable(found):
                raise InvalidSpecError(field, self.import_path, f"it is a {type(found).__name__}: name a function")
            return cast("Callable[..., Any]", found)
        assert self.source is not None
        assert self.name is not None
        unknown = [name for name in outside_names(self.source) if not hasattr(builtins, name)]
        if unknown:
            raise InvalidSpecError(
                f"the function {self.name}",
                unknown,
                "these names come from outside of the function, which travels to another process alone: import or "
                "define them inside it, or put the function into a module and give 'package.module:function'",
            )
        namespace: dict[str, Any] = {"__name__": "user_code"}
        exec(compile(self.source, f"<{self.name}>", "exec"), namespace)
        return cast("Callable[..., Any]", namespace[self.name])

    def check(self, field: str, *offered: str) -> tuple[str, ...]:
        """Those of the offered arguments that the function names; all of them for `**kwargs`.

        Raises InvalidSpecError, which names `field`, if there is no such function, or if it requires an argument that
        is not on offer.

        >>> UserCode.model_validate("textwrap:dedent").check("code", "text", "seed")
        ('text',)
        """
        function = self.resolve(field)
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError) as error:
            raise InvalidSpecError(field, str(self), "its arguments are not known: wrap it in a function") from error
        kinds = {parameter.kind for parameter in parameters}
        if inspect.Parameter.POSITIONAL_ONLY in kinds or kinds == {inspect.Parameter.VAR_POSITIONAL}:
            raise InvalidSpecError(
                field,
                str(self),
                "arguments are given by name, and it takes some by position: name those you need of "
                f"{', '.join(sorted(offered))}",
            )
        named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        missing = [p.name for p in named if p.default is p.empty and p.name not in offered]
        if missing:
            raise InvalidSpecError(
                field,
                str(self),
                f"it requires {', '.join(missing)}; the function may only take the arguments "
                f"{', '.join(sorted(offered))}",
            )
        if inspect.Parameter.VAR_KEYWORD in kinds:
            return offered
        return tuple(p.name for p in named if p.name in offered)

    def call(self, **offered: Any) -> Any:
        """Call the function with those of the offered arguments that it names; all of them for `**kwargs`.

        Raises InvalidSpecError if it requires an argument that is not on offer.
        """
        taken = self.check("user code", *offered)
        return self.resolve()(**{name: offered[name] for name in taken})

    def text_digest(self) -> str | None:
        """A hash of the code's text, or None if its text cannot be had, so that nobody can tell whether it changed.

        For an import path it is the text of the whole module, not of what the module imports.
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
        # The function at hand is the same as what it is found by in another process.
        return isinstance(other, UserCode) and self._described() == other._described()

    def __hash__(self) -> int:
        return hash(self._described())

    def _described(self) -> tuple[str | None, str | None, str | None]:
        return self.import_path, self.source, self.name

    def __str__(self) -> str:
        return self.import_path or self.name or "user code"


def import_object(path: str, field: str) -> Any:
    """Import `package.module:name`, or the last part of `package.module.name`. Raises InvalidSpecError."""
    module_name, separator, name = path.partition(":")
    if not separator:
        module_name, _, name = path.rpartition(".")
    if not all(part.isidentifier() for part in f"{module_name or name}.{name}".split(".")):
        raise InvalidSpecError(field, path, "this is no import path: write 'package.module:name'")
    try:
        found: Any = importlib.import_module(module_name) if module_name else None
    except ImportError as error:
        raise InvalidSpecError(
            field, path, f"the module cannot be imported ({error}): install it, or correct the path"
        ) from error
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is None:
        raise InvalidSpecError(field, path, f"{module_name or 'the path'} has no {name}: write 'package.module:name'")
    return found


def _describe(function: Callable[..., Any]) -> dict[str, str]:
    """How to find the function again in another process. Raises ValueError if it cannot be found there."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str):
        module = name = ""
    if "<lambda>" in name.rpartition(".")[2]:
        raise ValueError("a lambda has no name by which another process could find it: write a function with def")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise ValueError(f"{name} is asynchronous: write a function with def, not async def")
    # Airflow loads DAG files under made-up module names, which no other process can import.
    if module not in ("", "__main__") and not module.startswith("unusual_prefix_") and "<" not in name:
        found: Any = sys.modules.get(module)
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is function:
            return {"import_path": f"{module}:{name}"}
    if not inspect.isfunction(function):
        raise ValueError(
            f"{function!r:.100} cannot be found by another process: write a function with def that calls it, or give "
            "'package.module:function'"
        )
    try:
        name, source = source_of(function)
    except SourceError as error:
        raise ValueError(str(error)) from error
    return {"name": name, "source": source}
