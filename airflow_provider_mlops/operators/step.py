"""The base class of all step operators: fields go in, the step runs somewhere, its result comes out as XComs."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, cast

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException
from airflow.sdk import AssetAlias, BaseOperator, BaseOperatorLink
from pydantic import SecretStr
from typing_extensions import override

from airflow_provider_mlops.assets.events import AssetUpdate, emit
from airflow_provider_mlops.errors import BackendUnusableError, InvalidSpecError, MissingExtraError, RejectedError
from airflow_provider_mlops.hooks.workspace import open_workspace
from airflow_provider_mlops.lifecycle.step import Result, ResultT, SpecT, Step
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
from airflow_provider_mlops.operators.constructor import COMMON_ARGUMENTS, make_constructor
from airflow_provider_mlops.operators.describe import describe
from airflow_provider_mlops.operators.identity import identify, report_retries
from airflow_provider_mlops.runtimes.in_task import InTaskRuntime
from airflow_provider_mlops.runtimes.runtime import Runtime

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.definitions.xcom_arg import PlainXComArg

XCOM_LIMIT = 16 * 1024
"""The bytes of JSON that all XComs of a task may take. XComs carry references and small numbers, never rows."""


class StepOperator(BaseOperator, Generic[SpecT, ResultT]):
    """Runs one step of the lifecycle.

    Subclass it with `class MyOperator(StepOperator[MySpec, MyResult], step=STEP)`. The fields of the step's Spec
    become keyword arguments. They are templated and may come from `default_args`. Each field of the step's Result
    becomes one XCom, so the next task can use `prepare.output["train"]`. An invalid field, rejected data or a rejected
    model fails the task without a retry; if a backend is unavailable, Airflow retries the task.
    """

    step: ClassVar[str]
    definition: ClassVar[Step[Any, Any]]
    events: ClassVar[AssetAlias | None] = None
    """The alias that collects the step's asset events; None for a step that has none."""
    extra_arguments: ClassVar[dict[str, object]] = {}
    """Arguments besides the step's fields, with their defaults. They become attributes and are not templated."""

    template_fields: Sequence[str] = ()
    template_fields_renderers: ClassVar[dict[str, str]] = {}
    operator_extra_links: Collection[BaseOperatorLink] = (MlflowRunLink(), ReportLink())

    runtime: Runtime | None
    mlflow_conn_id: str
    gateway_conn_id: str
    templated: frozenset[str]
    """The fields that hold templates."""

    if TYPE_CHECKING:

        @property
        def output(self) -> PlainXComArg:
            """Airflow declares a type that has no keys, so `prepare.output["train"]` would not type-check."""

    def __init_subclass__(cls, step: Step[Any, Any] | None = None, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        if step is None:
            return
        cls.step = step.name
        cls.definition = step
        cls.template_fields = (*step.spec.model_fields, *COMMON_ARGUMENTS)
        cls.template_fields_renderers = {
            name: _renderer(field.annotation) for name, field in step.spec.model_fields.items()
        } | cls.template_fields_renderers
        setattr(cls, "__init__", make_constructor(step, cls.events, cls.extra_arguments))  # noqa: B010
        cls.__doc__ = describe(cls.__doc__ or step.spec.__doc__ or "", step)

    @override
    def execute(self, context: Context) -> dict[str, Any]:
        with report_retries(context):
            return self.finish(context, *self.run_step(context))

    def run_step(self, context: Context) -> tuple[Workspace, SpecT, ResultT]:
        """Run the step. Returns its workspace, Spec and Result.

        An invalid spec or a rejection raises AirflowFailException, so that the task is not retried.
        """
        workspace = None
        try:
            workspace = self.workspace(context)
            spec = self.spec()
            result = cast("ResultT", self._runtime().run(self.definition, spec, workspace))
        except (BackendUnusableError, InvalidSpecError, MissingExtraError, RejectedError) as error:
            if workspace is not None:
                publish_links(context, self.addresses(workspace, {}))
            raise AirflowFailException(str(error)) from error
        return workspace, spec, result

    def finish(self, context: Context, workspace: Workspace, spec: SpecT, result: ResultT) -> dict[str, Any]:
        """Publish links and asset events. Returns the fields of the Result as JSON."""
        outcome = result.model_dump(mode="json")
        addresses = self.addresses(workspace, outcome)
        _refuse_large(self.task_id, self._stored(outcome, addresses))
        publish_links(context, addresses)
        if self.events is not None:
            emit(context, self.events, self.asset_updates(spec, result), workspace.task)
        self.on_finished(context, spec, result)
        return outcome

    @override
    def on_kill(self) -> None:
        if self.runtime is not None:
            self.runtime.kill()

    def addresses(self, workspace: Workspace, outcome: dict[str, Any]) -> dict[str, str]:
        """Return the URLs of the task's links, by their keys.

        :param outcome: the Result as JSON; an empty dict if the step has rejected its input.
        """
        return link_addresses(self.step, self.mlflow_conn_id, workspace, outcome)

    def spec(self) -> SpecT:
        """Return the Spec, made from the rendered fields. Raises InvalidSpecError."""
        values = {}
        for name, field in self.definition.spec.model_fields.items():
            value = fields.from_template(getattr(self, name))
            values[name] = fields.coerce_rendered(field, value) if name in self.templated else value
        return cast("SpecT", self.definition.parse(values))

    def workspace(self, context: Context) -> Workspace:
        """Return the backends that the step may use, from Airflow's connections, and the identity of the task."""
        workspace = open_workspace(identify(context), self.mlflow_conn_id, self.gateway_conn_id)
        return workspace.model_copy(update={"secrets": {**workspace.secrets, **self.secrets()}})

    def secrets(self) -> dict[str, SecretStr]:
        """Return more secrets for the step, by the names that it asks for."""
        return {}

    def asset_updates(self, spec: SpecT, result: ResultT) -> list[AssetUpdate]:
        """Return the assets that the step has updated."""
        return []

    def on_finished(self, context: Context, spec: SpecT, result: ResultT) -> None:
        """Do what is left to do at the end. May raise an exception to end the task in a state other than success."""

    def push(self, context: Context, result: Result) -> None:
        """Push the XComs of a task that ends by an exception."""
        outcome = result.model_dump(mode="json")
        for key, value in {**outcome, "return_value": outcome}.items():
            context["ti"].xcom_push(key=key, value=value)

    def skip_downstream(self, context: Context, result: Result, reason: str) -> NoReturn:
        """End the task as skipped, and with it the tasks that need its success. Its XComs are pushed first."""
        self.push(context, result)
        raise AirflowSkipException(f"Skipping the downstream tasks: {reason}")

    def _stored(self, outcome: dict[str, Any], addresses: dict[str, str]) -> dict[str, Any]:
        """Return all XComs that Airflow will store: the result as a whole and by field, and the links twice."""
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
                "runtime", self.runtime, "it must be a Runtime, for example PythonRuntime('/opt/ml/bin/python')"
            )
        return self.runtime


def _renderer(annotation: object) -> str:
    """Return how the UI's rendered view highlights a field of this type."""
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
            f"The XComs of task {task_id} take {total:,} bytes of JSON, but the limit is {XCOM_LIMIT:,}. The largest "
            f"key is {largest!r} with {sizes[largest]:,} bytes: write its content to a file and return the URI."
        )
