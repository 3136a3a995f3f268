"""The constructor of a step's operator, made from the fields of its Spec.

`class TrainModelOperator(StepOperator, step=STEP)` writes no `__init__`, because its arguments are the fields of the
Spec. It gets one here, for three readers:

- **Airflow** wraps `__init__` and reads its signature: arguments that the signature names can come from
  `default_args`. Mapped tasks are constructed at run time only, so Airflow takes the `outlets` of a task that is not
  yet constructed from the signature's default. `make_constructor` therefore sets `__signature__`.
- **Airflow** would report a missing argument before the constructor runs, and a user who wrote `dataset_nam=` would
  read that `dataset_name` is missing. The signature therefore gives required fields a default, `REQUIRED`, and
  `construct` checks for misspelled names first.
- **Editors and type checkers** do not run this. They read `__init__` under `TYPE_CHECKING` in each operator's class,
  whose arguments `make stubs` generates into `arguments.pyi`.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from airflow.sdk import AssetAlias, BaseOperator

from airflow_provider_mlops.hooks.gateway import MlopsGatewayHook
from airflow_provider_mlops.hooks.mlflow import MlflowHook
from airflow_provider_mlops.lifecycle.step import Step
from airflow_provider_mlops.operators import fields

COMMON_ARGUMENTS: dict[str, object] = {
    "runtime": None,
    "mlflow_conn_id": MlflowHook.default_conn_name,
    "gateway_conn_id": MlopsGatewayHook.default_conn_name,
}
"""Arguments that all steps have, with their defaults."""

_AIRFLOW_ARGUMENTS = {*inspect.signature(BaseOperator.__init__).parameters, "_airflow_mapped_validation_only"}


class _Required:
    def __repr__(self) -> str:
        return "<required>"


REQUIRED = _Required()
"""The default of a required field in the signature."""


def make_constructor(
    step: Step[Any, Any], events: AssetAlias | None, extra_arguments: Mapping[str, object]
) -> Callable[..., None]:
    """Return an `__init__` whose signature names the fields of the Spec and the arguments of all steps."""

    others = {**COMMON_ARGUMENTS, **extra_arguments}
    model_fields = step.spec.model_fields

    def __init__(self: BaseOperator, **kwargs: Any) -> None:
        kwargs["outlets"] = with_alias(kwargs.get("outlets"), events)
        construct(self, step, others, kwargs)

    defaults: dict[str, object] = {
        **{name: fields.default(field) for name, field in model_fields.items()},
        **{name: REQUIRED for name, field in model_fields.items() if field.is_required()},
        **others,
        "outlets": with_alias(None, events),
        "multiple_outputs": True,
    }
    parameter = inspect.Parameter
    signature = inspect.Signature(
        [
            parameter("self", parameter.POSITIONAL_OR_KEYWORD),
            *(parameter(name, parameter.KEYWORD_ONLY, default=value) for name, value in defaults.items()),
            parameter("kwargs", parameter.VAR_KEYWORD),
        ]
    )
    setattr(__init__, "__signature__", signature)  # noqa: B010 - functions declare no such attribute
    return __init__


def construct(
    operator: BaseOperator, step: Step[Any, Any], others: Mapping[str, object], arguments: dict[str, Any]
) -> None:
    """Pass Airflow's arguments to Airflow, and check and store the fields of the Spec and the others.

    Raises InvalidSpecError for an unknown or invalid field, and TypeError for a missing one.
    """
    spec = step.spec
    known = {*spec.model_fields, *others, *_AIRFLOW_ARGUMENTS}
    for name in arguments.keys() - known:
        owner = f"{type(operator).__name__} (task {arguments.get('task_id')})"
        raise fields.unknown_field(owner, spec, name, arguments[name])
    given = {name: fields.to_template(arguments.pop(name)) for name in spec.model_fields if name in arguments}
    _refuse_missing(name for name, field in spec.model_fields.items() if field.is_required() and name not in given)
    values = {name: arguments.pop(name, default) for name, default in others.items()}
    fields.check_known(step, given)
    arguments.setdefault("multiple_outputs", True)
    BaseOperator.__init__(operator, **arguments)
    for name, field in spec.model_fields.items():
        setattr(operator, name, given[name] if name in given else fields.default(field))
    # Each task has its own runtime, because its settings are templated and it remembers what it has started.
    values["runtime"] = copy.copy(values["runtime"])
    values["templated"] = frozenset(name for name, value in given.items() if not fields.is_known(value))
    for name, value in values.items():
        setattr(operator, name, value)


def with_alias(outlets: object, events: AssetAlias | None) -> list[object]:
    """Return the outlets as a list that has the alias of the step's events."""
    given = [] if outlets is None else list(outlets) if isinstance(outlets, (list, tuple, set)) else [outlets]
    return given if events is None or events in given else [*given, events]


def _refuse_missing(names: Iterable[str]) -> None:
    missing = sorted(names)
    if missing:
        # Airflow's own words.
        raise TypeError(f"missing keyword argument{'s' * (len(missing) > 1)} {', '.join(map(repr, missing))}")
