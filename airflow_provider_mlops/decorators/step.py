"""The mechanism of the decorators: a function becomes the argument of an operator that takes users' code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeAlias, cast, overload

from airflow.sdk import XComArg
from airflow.sdk.bases.decorator import get_unique_task_id
from airflow.sdk.definitions.xcom_arg import PlainXComArg

from airflow_provider_mlops.operators.step import StepOperator

if TYPE_CHECKING:
    Operator: TypeAlias = type[StepOperator[Any, Any]]

P = ParamSpec("P")
Function: TypeAlias = Callable[..., object]


class StepTask(Generic[P]):
    """A function as the code of a step. Call it with fields of the step's Spec to make a task.

    :param operator: the step's operator.
    :param argument: the operator's argument that the function becomes.
    :param function: the user's function.
    :param settings: arguments of the operator for every task that is made.
    """

    _airflow_is_task_decorator = True

    def __init__(self, operator: Operator, argument: str, function: Function, settings: Mapping[str, object]) -> None:
        self.function = function
        self._operator = operator
        self._argument = argument
        self._settings: dict[str, object] = {"task_id": getattr(function, "__name__", "task"), **settings}
        update_wrapper(self, function)

    def __call__(self, *args: P.args, **fields: P.kwargs) -> PlainXComArg:
        """Make the task. Its output stands for the step's results: `trained["model"]`."""
        _refuse_positional(args)
        return PlainXComArg(self._operator(**self._arguments(fields)))

    def partial(self, *args: P.args, **fields: P.kwargs) -> StepTask[P]:
        """Set fields that are the same for all mapped tasks."""
        return self.override(*args, **fields)

    def expand(self, **fields: Any) -> XComArg:
        """Make one mapped task for each item of the fields."""
        return XComArg(self._operator.partial(**self._arguments({})).expand(**fields))

    def expand_kwargs(self, fields: XComArg | Sequence[Mapping[str, Any]], *, strict: bool = True) -> XComArg:
        """Make one mapped task for each dict of fields."""
        mapped = self._operator.partial(**self._arguments({})).expand_kwargs(cast("Any", fields), strict=strict)
        return XComArg(mapped)

    def override(self, *args: P.args, **settings: P.kwargs) -> StepTask[P]:
        """Return the same function with other settings, such as `task_id`."""
        _refuse_positional(args)
        return StepTask(self._operator, self._argument, self.function, {**self._settings, **settings})

    def _arguments(self, fields: Mapping[str, object]) -> dict[str, Any]:
        code = {"kind": "code", "function": self.function} if self._argument == "source" else self.function
        arguments: dict[str, Any] = {self._argument: code, **self._settings, **fields}
        arguments["task_id"] = get_unique_task_id(
            arguments["task_id"], arguments.get("dag"), arguments.get("task_group")
        )
        if self.function.__doc__:
            arguments.setdefault("doc_md", self.function.__doc__)
        return arguments


class StepDecorator(Generic[P]):
    """A decorator that makes a function the code of a step. Use it with or without arguments.

    The decorator and the call of the decorated function both take the operator's arguments. The call returns the
    step's results.

    :param operator: the step's operator.
    :param argument: the operator's argument that the function becomes.
    """

    def __init__(self, operator: Operator, argument: str) -> None:
        self.operator = operator
        self.argument = argument

    @overload
    # P has no positional arguments in any declaration, so the overloads do not overlap.
    def __call__(self, function: Function, /) -> StepTask[P]: ...  # type: ignore[overload-overlap]

    @overload
    def __call__(self, *args: P.args, **settings: P.kwargs) -> Callable[[Function], StepTask[P]]: ...

    def __call__(self, *args: Any, **settings: Any) -> StepTask[P] | Callable[[Function], StepTask[P]]:
        """Decorate a function, or return the decorator with these settings."""
        # Airflow passes the function by this name.
        function = args[0] if args else settings.pop("python_callable", None)
        if function is None:
            return lambda decorated: StepTask(self.operator, self.argument, decorated, settings)
        if not callable(function):
            raise TypeError("use keyword arguments with the decorator")
        return StepTask(self.operator, self.argument, function, settings)


def declare(arguments: Callable[P, None]) -> StepDecorator[P]:
    """Declare a decorator with these arguments, for type checkers only."""
    raise NotImplementedError


def _refuse_positional(args: tuple[object, ...]) -> None:
    if args:
        raise TypeError("use keyword arguments for the fields of the step")
