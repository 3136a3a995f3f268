"""Code that people bring to a step: an import path, or a function of their own.

A function travels to another process by its import path where it has one, and otherwise by its
source, so that a function written in a DAG file needs no package around it.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
import sys
import textwrap
from collections.abc import Callable
from typing import Any, Self, cast

from pydantic import BaseModel, ConfigDict, PrivateAttr, model_validator

from airflow_provider_mlops.errors import InvalidSpecError


class UserCode(BaseModel):
    """A function of the user's: `"my_team.features:build"`, or any callable.

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
    def _accept(cls, value: Any, handler: Callable[[Any], Self]) -> Self:
        if isinstance(value, str):
            module, _, name = value.partition(":")
            if not module or not name:
                raise ValueError("write it as 'package.module:function'")
            return handler({"import_path": value})
        if callable(value) and not isinstance(value, cls):
            code = handler(_describe(value))
            code._callable = value
            return code
        return handler(value)

    def resolve(self) -> Callable[..., Any]:
        """The function itself. Raises InvalidSpecError when it cannot be imported."""
        if self._callable is not None:
            return self._callable
        if self.import_path is not None:
            return cast("Callable[..., Any]", import_object(self.import_path, "user code"))
        if self.source is None or self.name is None:
            raise InvalidSpecError("user code", self.name, "give an import path 'package.module:function'")
        namespace: dict[str, Any] = {"__name__": "user_code"}
        exec(compile(self.source, f"<{self.name}>", "exec"), namespace)
        return namespace[self.name]  # type: ignore[no-any-return]

    def call(self, **offered: Any) -> Any:
        """Call the function with those of the offered arguments that it names; all of them for `**kwargs`.

        Raises InvalidSpecError if it requires an argument that is not on offer.
        """
        function = self.resolve()
        parameters = inspect.signature(function).parameters.values()
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            return function(**offered)
        missing = [p.name for p in parameters if p.default is p.empty and p.name not in offered]
        if missing:
            raise InvalidSpecError(
                str(self), missing, f"the function may only take the arguments {', '.join(sorted(offered))}"
            )
        return function(**{p.name: offered[p.name] for p in parameters if p.name in offered})

    def text_digest(self) -> str | None:
        """A hash of the code's text, or None if its text cannot be had, so that nobody can tell whether it changed.

        For an import path it is the text of the whole module, not of what the module imports.
        """
        if self.source is not None:
            text = self.source
        elif self.import_path is not None:
            try:
                text = inspect.getsource(sys.modules[self.resolve().__module__])
            except (OSError, TypeError, KeyError, AttributeError):
                return None
        else:
            return None
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def __str__(self) -> str:
        return self.import_path or self.name or "user code"


def import_object(path: str, field: str) -> Any:
    """Import `package.module:name`, or the last part of `package.module.name`. Raises InvalidSpecError."""
    module_name, separator, name = path.partition(":")
    if not separator:
        module_name, _, name = path.rpartition(".")
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
    """How to find the function again in another process."""
    module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
    # Airflow loads DAG files under made-up module names, which no other process can import.
    importable = module and module != "__main__" and not module.startswith("unusual_prefix_") and "<" not in name
    if importable and "." not in name and getattr(sys.modules.get(module), name, None) is function:
        return {"import_path": f"{module}:{name}"}
    try:
        source = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):
        return {"name": name or repr(function)}
    tree = ast.parse(source)
    definition = tree.body[0]
    if not isinstance(definition, ast.FunctionDef):
        return {"name": name}
    definition.decorator_list = []
    definition.returns = None
    for argument in (*definition.args.posonlyargs, *definition.args.args, *definition.args.kwonlyargs):
        argument.annotation = None
    return {"name": definition.name, "source": ast.unparse(tree)}
