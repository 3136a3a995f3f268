"""What the decorators have in common: a function becomes the field of a step that takes people's code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import update_wrapper
from typing import Any

from airflow.sdk import XComArg
from airflow.sdk.bases.decorator import get_unique_task_id

from airflow_provider_mlops.operators.step import StepOperator


class StepTask:
    """A function as the code of a step. Calling it with fields of the step's Spec makes a task.

    :param operator: the step's operator.
    :param function: the user's function.
    :param place: from the function to the operator's argument that holds it.
    :param settings: arguments of the operator that hold for every task that is made.
    """

    _airflow_is_task_decorator = True

    def __init__(
        self,
        operator: type[StepOperator],
        function: Callable[..., Any],
        place: Callable[[Callable[..., Any]], dict[str, Any]],
        settings: Mapping[str, Any],
    ) -> None:
        self.function = function
        self._operator = operator
        self._place = place
        self._settings = {"task_id": getattr(function, "__name__", "task"), **settings}
        update_wrapper(self, function)

    def __call__(self, **fields: Any) -> XComArg:
        """Make the task. What it returns stands for the step's results: `trained["model"]`."""
        return XComArg(self._operator(**self._arguments(fields)))

    def partial(self, **fields: Any) -> StepTask:
        """Set fields that are the same for all mapped tasks."""
        return StepTask(self._operator, self.function, self._place, {**self._settings, **fields})

    def expand(self, **fields: Any) -> XComArg:
        """Make one mapped task an item of the fields."""
        return XComArg(self._operator.partial(**self._arguments({})).expand(**fields))

    def expand_kwargs(self, fields: Any, *, strict: bool = True) -> XComArg:
        """Make one mapped task a dict of fields."""
        return XComArg(self._operator.partial(**self._arguments({})).expand_kwargs(fields, strict=strict))

    def override(self, **settings: Any) -> StepTask:
        """The same function with other settings, such as `task_id`."""
        return StepTask(self._operator, self.function, self._place, {**self._settings, **settings})

    def _arguments(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        arguments = {**self._place(self.function), **self._settings, **fields}
        arguments["task_id"] = get_unique_task_id(
            arguments["task_id"], arguments.get("dag"), arguments.get("task_group")
        )
        if self.function.__doc__:
            arguments.setdefault("doc_md", self.function.__doc__)
        return arguments


def step_task(
    operator: type[StepOperator],
    place: Callable[[Callable[..., Any]], dict[str, Any]],
    function: Callable[..., Any] | None,
    settings: Mapping[str, Any],
) -> Any:
    """The decorator itself, used with or without arguments."""
    if function is not None:
        if not callable(function):
            raise TypeError("use keyword arguments with the decorator")
        return StepTask(operator, function, place, settings)
    return lambda decorated: StepTask(operator, decorated, place, settings)
