"""What every operator of a lifecycle step does: fields in, the step carried out somewhere, result out as XComs."""

from __future__ import annotations

import copy
import inspect
import json
import logging
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException
from airflow.sdk import AssetAlias, BaseOperator, BaseOperatorLink

from airflow_provider_mlops.assets.events import AssetUpdate, emit
from airflow_provider_mlops.errors import InvalidSpecError, RejectedError
from airflow_provider_mlops.hooks.gateway import MlopsGatewayHook
from airflow_provider_mlops.hooks.mlflow import MlflowHook
from airflow_provider_mlops.hooks.rollout_store import rollout_secrets
from airflow_provider_mlops.hooks.storage import storage_uri
from airflow_provider_mlops.lifecycle.step import Spec, Step
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.links.step import (
    XCOM_KEY,
    MlflowRunLink,
    ReportLink,
    StepLink,
    link_addresses,
    publish_links,
)
from airflow_provider_mlops.operators import fields
from airflow_provider_mlops.operators.describe import describe
from airflow_provider_mlops.operators.identity import identify
from airflow_provider_mlops.runtimes.in_task import InTaskRuntime
from airflow_provider_mlops.runtimes.runtime import Runtime

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

XCOM_LIMIT = 16 * 1024
"""How many bytes of JSON all XComs of a task may take. XCom carries references and small numbers, never rows."""

_COMMON_ARGUMENTS = {
    "runtime": None,
    "mlflow_conn_id": MlflowHook.default_conn_name,
    "gateway_conn_id": MlopsGatewayHook.default_conn_name,
}


class StepOperator(BaseOperator):
    """Carries out one step of the lifecycle. Subclass it with `class MyOperator(StepOperator, step=STEP)`.

    The fields of the step's Spec are keyword arguments, templated, and may come from `default_args`.
    What the step returns becomes one XCom a field, so that `prepare.output["train"]` wires the next task.
    A wrong field or rejected data fails the task without a retry; a backend that is away leaves it to
    Airflow's retries.
    """

    step: ClassVar[str]
    definition: ClassVar[Step[Any, Any]]
    events: ClassVar[AssetAlias | None] = None
    """The alias that collects the step's asset events; None for a step that has none."""
    extra_arguments: ClassVar[dict[str, Any]] = {}
    """Arguments beside the step's fields, and what they are by default. They become attributes and are no templates."""

    template_fields: Sequence[str] = ()
    template_fields_renderers: ClassVar[dict[str, str]] = {}
    operator_extra_links: Collection[BaseOperatorLink] = (MlflowRunLink(), ReportLink())

    runtime: Runtime | None
    mlflow_conn_id: str
    gateway_conn_id: str

    def __init_subclass__(cls, step: Step[Any, Any] | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if step is None:
            return
        cls.step = step.name
        cls.definition = step
        names = tuple(step.spec.model_fields)
        cls.template_fields = (*names, *_COMMON_ARGUMENTS)
        cls.template_fields_renderers = {
            name: _renderer(field.annotation) for name, field in step.spec.model_fields.items()
        } | cls.template_fields_renderers
        cls.__init__ = _constructor(step, cls.events, cls.extra_arguments)  # type: ignore[method-assign]
        cls.__doc__ = describe(cls.__doc__ or step.spec.__doc__ or "", step)

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Refuse unknown fields before Airflow misses required ones: `dataset_nam=` is a typing error in the former."""
        if hasattr(cls, "definition"):
            taken = {*_BASE_ARGUMENTS, *inspect.signature(cls.__init__).parameters}
            unknown = {name: value for name, value in kwargs.items() if name not in taken}
            # Airflow tells the constructor more under names of its own.
            _refuse_unknown(cls, {name: value for name, value in unknown.items() if name[0] != "_"}, kwargs)
        return super().__new__(cls)

    def execute(self, context: Context) -> dict[str, Any]:
        """Carry out the step. Returns the fields of its Result as JSON."""
        return self.finish(context, *self.run_step(context))

    def run_step(self, context: Context) -> tuple[Workspace, Any, Any]:
        """Run the step. Returns its workspace, Spec and Result; a wrong spec or a rejection fails without a retry."""
        workspace = None
        try:
            workspace = self.workspace(context)
            spec = self.spec()
            result = self._runtime().run(self.definition, spec, workspace)
        except (InvalidSpecError, RejectedError) as error:
            if workspace is not None:
                publish_links(context, link_addresses(self.step, self.mlflow_conn_id, workspace, {}))
            raise AirflowFailException(str(error)) from error
        return workspace, spec, result

    def finish(self, context: Context, workspace: Workspace, spec: Any, result: Any) -> dict[str, Any]:
        """Publish links and asset events. Returns the fields of the Result as JSON."""
        outcome: dict[str, Any] = result.model_dump(mode="json")
        addresses = link_addresses(self.step, self.mlflow_conn_id, workspace, outcome)
        _refuse_large(self.task_id, self._stored(outcome, addresses))
        publish_links(context, addresses)
        if self.events is not None:
            emit(context, self.events, self.asset_updates(spec, result), workspace.task)
        self.on_finished(context, outcome)
        return outcome

    def on_kill(self) -> None:
        """End what the runtime has started."""
        if self.runtime is not None:
            self.runtime.kill()

    def spec(self) -> Spec:
        """The Spec from the rendered fields. Raises InvalidSpecError."""
        known = self.definition.spec.model_fields
        values = {}
        for name, field in known.items():
            value = fields.from_template(getattr(self, name))
            values[name] = fields.coerce_rendered(field, value) if name in self._templated else value
        spec: Spec = self.definition.parse(values)
        return spec

    def workspace(self, context: Context) -> Workspace:
        """The backends that the step may use, from Airflow's connections, and the task it works for."""
        mlflow = MlflowHook(self.mlflow_conn_id).settings()
        gateway = MlopsGatewayHook(self.gateway_conn_id).settings()
        return Workspace(
            storage_uri=storage_uri(),
            task=identify(context),
            tracking_uri=mlflow.tracking_uri,
            registry_uri=mlflow.registry_uri,
            gateway_url=gateway.url,
            secrets=mlflow.secrets() | gateway.secrets() | rollout_secrets() | self.secrets(),
        )

    def secrets(self) -> dict[str, Any]:
        """Further secrets that this step needs, by the name under which it asks for them."""
        return {}

    def asset_updates(self, spec: Any, result: Any) -> list[AssetUpdate]:
        """The assets that this result is a new version of."""
        return []

    def on_finished(self, context: Context, outcome: dict[str, Any]) -> None:
        """Called last with what will be returned; may raise to end the task in another state than success."""

    def push(self, context: Context, outcome: dict[str, Any]) -> None:
        """Push the XComs of a task that ends by an exception."""
        for key, value in {**outcome, "return_value": outcome}.items():
            context["ti"].xcom_push(key=key, value=value)

    def skip_downstream(self, context: Context, outcome: dict[str, Any], why: str) -> NoReturn:
        """End the task as skipped, and with it what depends on its success. Its XComs are pushed first."""
        self.push(context, outcome)
        raise AirflowSkipException(f"Skipping what comes next: {why}")

    def _stored(self, outcome: dict[str, Any], addresses: dict[str, str]) -> dict[str, Any]:
        """All XComs that Airflow will keep of the task: the result whole and by field, and the links twice as well."""
        stored: dict[str, Any] = {}
        if self.do_xcom_push:
            stored |= outcome if self.multiple_outputs else {}
            stored["return_value"] = outcome
        if self.operator_extra_links:
            stored[XCOM_KEY] = addresses
        stored |= {
            link.xcom_key: addresses.get(link.key, "")
            for link in self.operator_extra_links
            if isinstance(link, StepLink)
        }
        return stored

    def _runtime(self) -> Runtime:
        if self.runtime is None:
            self.runtime = InTaskRuntime()
        if not isinstance(self.runtime, Runtime):
            raise InvalidSpecError(
                "runtime", self.runtime, "give a Runtime, such as PythonRuntime('/opt/ml/bin/python')"
            )
        return self.runtime

    def _set_up(self, arguments: dict[str, Any]) -> None:
        """What the constructor does: Airflow's arguments to Airflow, ours to attributes, anything else is refused."""
        spec = self.definition.spec
        given = {name: fields.to_template(arguments.pop(name)) for name in spec.model_fields if name in arguments}
        own = {
            name: arguments.pop(name, usual) for name, usual in {**_COMMON_ARGUMENTS, **self.extra_arguments}.items()
        }
        unknown = {name: value for name, value in arguments.items() if name not in _BASE_ARGUMENTS}
        _refuse_unknown(type(self), unknown, arguments)
        fields.check_known(self.definition, given)
        arguments["outlets"] = _with_alias(arguments.get("outlets"), self.events)
        arguments.setdefault("multiple_outputs", True)
        BaseOperator.__init__(self, **arguments)
        self._templated = frozenset(name for name, value in given.items() if not fields.is_known(value))
        for name, field in spec.model_fields.items():
            setattr(self, name, given[name] if name in given else fields.default(field))
        # Each task has a runtime of its own, since its settings are templated and it knows what it has started.
        for name, value in own.items():
            setattr(self, name, copy.copy(value) if name == "runtime" else value)


def _refuse_unknown(operator: type[StepOperator], unknown: dict[str, Any], arguments: dict[str, Any]) -> None:
    for name, value in unknown.items():
        what = f"{operator.__name__} (task {arguments.get('task_id')})"
        fields.refuse_unknown(what, operator.definition.spec, [name], value)


_BASE_ARGUMENTS = {*inspect.signature(BaseOperator.__init__).parameters, "_airflow_mapped_validation_only"}


def _constructor(
    step: Step[Any, Any], events: AssetAlias | None, extra_arguments: dict[str, Any]
) -> Callable[..., None]:
    """An `__init__` whose signature names the fields: Airflow reads it for `default_args` and for mapping."""

    def __init__(self: StepOperator, **kwargs: Any) -> None:
        self._set_up(kwargs)

    keyword, empty = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.empty
    parameters = [
        inspect.Parameter(
            name,
            keyword,
            default=empty if field.is_required() else fields.default(field),
            annotation=field.annotation,
        )
        for name, field in step.spec.model_fields.items()
    ]
    parameters += [
        inspect.Parameter(name, keyword, default=usual)
        for name, usual in {**_COMMON_ARGUMENTS, **extra_arguments}.items()
    ]
    # Airflow takes these defaults for mapped tasks, which are not constructed before they run.
    parameters.append(inspect.Parameter("outlets", keyword, default=_with_alias(None, events)))
    parameters.append(inspect.Parameter("multiple_outputs", keyword, default=True))
    first = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    rest = inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD)
    __init__.__signature__ = inspect.Signature([first, *parameters, rest])  # type: ignore[attr-defined]
    return __init__


def _with_alias(outlets: Any, events: AssetAlias | None) -> list[Any]:
    given = [] if outlets is None else list(outlets) if isinstance(outlets, (list, tuple, set)) else [outlets]
    return given if events is None or events in given else [*given, events]


def _renderer(annotation: Any) -> str:
    """How the UI's rendered view highlights a field of this type."""
    text = str(annotation)
    if "UserCode" in text and "Source" not in text:
        return "py"
    return "json" if any(word in text for word in ("dict", "tuple", "airflow_provider_mlops")) else "text"


def _refuse_large(task_id: str, stored: dict[str, Any]) -> None:
    sizes = {key: len(json.dumps(value).encode()) for key, value in stored.items()}
    total = sum(sizes.values())
    if total > XCOM_LIMIT:
        largest = max(sizes.keys() - {"return_value"} or sizes, key=lambda key: sizes[key])
        raise AirflowFailException(
            f"The XComs of {task_id} would be {total:,} bytes of JSON, the result being kept whole and by field, and "
            f"{XCOM_LIMIT:,} is the most. The largest key is {largest!r} with {sizes[largest]:,} bytes: write it to a "
            "file and return its URI."
        )
