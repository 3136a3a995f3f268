"""The base class of the sensors: check once, then wait in the triggerer or by poking."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, Literal, Unpack, cast

from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    conf,
)
from airflow.sdk import BaseSensorOperator, PokeReturnValue
from typing_extensions import override

from airflow_provider_mlops.errors import BackendUnusableError, InvalidSpecError, MissingExtraError
from airflow_provider_mlops.operators.task_arguments import TaskArguments
from airflow_provider_mlops.triggers.waiting import EventT

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.definitions.xcom_arg import PlainXComArg

    from airflow_provider_mlops.triggers.waiting import WaitingTrigger

_GRACE = timedelta(seconds=60)
"""How long Airflow waits for a trigger to report its timeout before it fails the task itself."""


class PollingArguments(TaskArguments, total=False):
    """The arguments of Airflow's `BaseSensorOperator`."""

    mode: Literal["poke", "reschedule"]
    poke_interval: float | timedelta
    timeout: float | timedelta
    soft_fail: bool
    never_fail: bool
    silent_fail: bool
    exponential_backoff: bool
    max_wait: float | timedelta | None


class SensorArguments(PollingArguments, total=False):
    """The arguments that every sensor of this package takes, besides its own."""

    deferrable: bool | None


class WaitingSensor(BaseSensorOperator, Generic[EventT]):
    """Waits for what its trigger checks, and returns the trigger's event.

    At each check the log says what the sensor waits for and what it sees. If it times out, the error says both again.

    :param deferrable: wait in the triggerer, which needs no worker slot. Defaults to
        `[operators] default_deferrable`.
    """

    if TYPE_CHECKING:

        @property
        def output(self) -> PlainXComArg:
            """Airflow declares a type that has no keys, so `sensor.output["version"]` would not type-check."""

    def __init__(self, *, deferrable: bool | None = None, **kwargs: Unpack[PollingArguments]) -> None:
        super().__init__(**kwargs)
        if deferrable is None:
            deferrable = conf.getboolean("operators", "default_deferrable", fallback=False)
        self.deferrable = deferrable
        self._trigger: WaitingTrigger[EventT] | None = None

    @abstractmethod
    def trigger(self) -> WaitingTrigger[EventT]:
        """Return the trigger that checks, made from the rendered fields. Raises InvalidSpecError."""

    @override
    def execute(self, context: Context) -> Any:
        if not self.deferrable:
            try:
                return super().execute(context)
            except (AirflowSensorTimeout, AirflowSkipException) as error:
                raise type(error)(f"{error} {self._describe_wait()}") from error
        event = self._check()
        if event is not None:
            return event
        trigger = self._get_trigger()
        timeout = timedelta(seconds=self.timeout)
        trigger.deadline = (datetime.now(UTC) + timeout).isoformat()
        self.defer(trigger=trigger, method_name="resume", timeout=timeout + _GRACE)

    @override
    def poke(self, context: Context) -> bool | PokeReturnValue:
        event = self._check()
        return PokeReturnValue(is_done=True, xcom_value=event) if event is not None else False

    def resume(self, context: Context, event: Mapping[str, object]) -> EventT:
        """Return the event with which the trigger has fired. Raises AirflowSensorTimeout if it gave up."""
        if "timed_out" in event:
            self._get_trigger().last_seen = str(event["timed_out"])
            message = f"Sensor has timed out after {self.timeout:g} seconds. {self._describe_wait()}"
            if self.soft_fail or self.never_fail:
                self.log.warning("%s", message)
            raise AirflowSensorTimeout(message)
        return cast("EventT", event)

    @override
    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except AirflowSensorTimeout as error:
            if "Sensor has timed out" in str(error):
                raise
            # The trigger did not report in time: the triggerer may be down.
            message = f"{error} after {self.timeout:g} seconds. {self._describe_wait()} Check the triggerer."
            raise AirflowSensorTimeout(message) from error

    def _describe_wait(self) -> str:
        trigger = self._get_trigger()
        return f"It was waiting for {trigger.waiting_for()}, and last saw: {trigger.last_seen.rstrip('.')}."

    def _get_trigger(self) -> WaitingTrigger[EventT]:
        # One trigger for all checks of this process, because some remember what they have seen.
        if self._trigger is None:
            self._trigger = self.trigger()
        return self._trigger

    def _check(self) -> EventT | None:
        try:
            return self._get_trigger().check_if_available()
        except (BackendUnusableError, InvalidSpecError, MissingExtraError) as error:
            raise AirflowFailException(str(error)) from error
