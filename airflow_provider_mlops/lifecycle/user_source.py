"""A function's source as a module of its own, and which names it takes from elsewhere."""

from __future__ import annotations

import ast
import inspect
import re
import symtable
from collections.abc import Callable, Iterator
from typing import Any


class SourceError(Exception):
    """The source of a function cannot be had; the text says what to do."""


def source_of(function: Callable[..., Any]) -> tuple[str, str]:
    """The function's name and its source, without the decorators that made a task of it.

    Annotations are not evaluated, so that types imported at the top of a DAG file do no harm. Other decorators stay:
    without them the function would be another one. Raises SourceError.
    """
    name = getattr(function, "__name__", "the function")
    try:
        # A wrapper made by functools.wraps would give the source of what it wraps.
        source = inspect.getsource(function.__code__)
    except (OSError, TypeError, AttributeError) as error:
        raise SourceError(
            f"the source of {name} cannot be read, so another process could not run it: put it into a file"
        ) from error
    # Wrapping instead of removing the indentation keeps the lines of multi-line strings as they are.
    indented = source[:1] in (" ", "\t")
    try:
        tree = ast.parse("if True:\n" + source if indented else source)
    except SyntaxError as error:
        raise SourceError(f"the source of {name} cannot be told from the text around it: write it with def") from error
    body = tree.body[0].body if indented and isinstance(tree.body[0], ast.If) else tree.body
    definition = body[0]
    if not isinstance(definition, ast.FunctionDef):
        raise SourceError(f"{name} is no function written with def: write one")
    while definition.decorator_list and _makes_task(definition.decorator_list[0]):
        definition.decorator_list.pop(0)
    future = ast.parse("from __future__ import annotations").body
    return definition.name, ast.unparse(ast.Module(body=[*future, definition], type_ignores=[])) + "\n"


def _makes_task(decorator: ast.expr) -> bool:
    """Whether it is `@task...`, `@dag.task...` or one of this package's decorators, with or without arguments."""
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    name = ast.unparse(called)
    return re.fullmatch(r"(\w+\.)*(task|task\.\w+|mlops_\w+|\w+_task)", name) is not None


def outside_names(source: str) -> list[str]:
    """The names that the source reads and nothing in it defines, sorted; builtins are among them.

    >>> outside_names("def f(a, b=LIMIT):\\n    import math\\n    return math.sqrt(a) + np.sum(b) + len(a)\\n")
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
        # Annotations have tables of their own in newer Pythons, and are never evaluated here.
        if "annot" not in str(table.get_type()).lower():
            yield from _tables(child)
