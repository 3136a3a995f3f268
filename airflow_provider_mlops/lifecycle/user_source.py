"""The source of a function as a module of its own, and the names that it uses but does not define."""

from __future__ import annotations

import ast
import inspect
import re
import symtable
from collections.abc import Callable, Iterator
from typing import Any


class SourceError(Exception):
    """The source of a function cannot be read; the message says what to do."""


def source_of(function: Callable[..., Any]) -> tuple[str, str]:
    """Return a function's name and its source, without the decorators that make it a task.

    Annotations are not evaluated, so types that are imported at the top of a DAG file do no harm. Other decorators are
    kept, because they change what the function does.

    Raises
    ------
    SourceError
        If the source cannot be read or is not a function written with `def`.
    """
    name = getattr(function, "__name__", "the function")
    try:
        # inspect.getsource(function) would follow functools.wraps to the wrapped function.
        source = inspect.getsource(function.__code__)
    except (OSError, TypeError, AttributeError) as error:
        raise SourceError(
            f"the source of {name} cannot be read, so another process cannot run it. Define the function in a file"
        ) from error
    # Removing the indentation would change the lines of multi-line strings.
    indented = source[:1] in (" ", "\t")
    try:
        tree = ast.parse("if True:\n" + source if indented else source)
    except SyntaxError as error:
        raise SourceError(
            f"the source of {name} cannot be separated from the surrounding code. Write the function with def"
        ) from error
    body = tree.body[0].body if indented and isinstance(tree.body[0], ast.If) else tree.body
    definition = body[0]
    if not isinstance(definition, ast.FunctionDef):
        raise SourceError(f"{name} is not written with def. Write it as a function with def")
    while definition.decorator_list and _is_task_decorator(definition.decorator_list[0]):
        definition.decorator_list.pop(0)
    future = ast.parse("from __future__ import annotations").body
    return definition.name, ast.unparse(ast.Module(body=[*future, definition], type_ignores=[])) + "\n"


def _is_task_decorator(decorator: ast.expr) -> bool:
    """Return whether it is `@task...`, `@dag.task...` or a decorator of this package, with or without arguments."""
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    name = ast.unparse(called)
    return re.fullmatch(r"(\w+\.)*(task|task\.\w+|mlops_\w+|\w+_task)", name) is not None


def undefined_names(source: str) -> list[str]:
    """Return the names that a source reads but does not define, sorted; builtins are included.

    >>> undefined_names("def f(a, b=LIMIT):\\n    import math\\n    return math.sqrt(a) + np.sum(b) + len(a)\\n")
    ['LIMIT', 'len', 'np']
    """
    top = symtable.symtable(source, "<user code>", "exec")
    defined = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_assigned() or symbol.is_imported()}
    defined |= {"__name__", "__doc__", "__class__"}
    read: set[str] = set()
    for table in _tables(top):
        for symbol in table.get_symbols():
            if symbol.is_global() and symbol.is_assigned():
                defined.add(symbol.get_name())
            if symbol.is_referenced() and (symbol.is_global() or table is top):
                read.add(symbol.get_name())
    return sorted(read - defined)


def _tables(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        # Newer Python versions give annotations their own tables. They are never evaluated here.
        if "annot" not in str(table.get_type()).lower():
            yield from _tables(child)
