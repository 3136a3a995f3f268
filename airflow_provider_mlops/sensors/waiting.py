"""What the sensors have in common: look once, then wait in the triggerer or by poking."""

from __future__ import annotations

from abc import abstractmethod
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowFailException, conf
from airflow.sdk import BaseSensorOperator, PokeReturnValue

from airflow_provider_mlops.errors import BackendUnavailableError, InvalidSpecError

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_mlops.triggers.waiting import WaitingTrigger


class WaitingSensor(BaseSensorOperator):
    """Waits for what its trigger looks for and returns what was found.

    :param deferrable: wait in the triggerer, which holds no worker slot. By default what
        `[operators] default_deferrable` says.
    """

    def __init__(self, *, deferrable: bool | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if deferrable is None:
            deferrable = conf.getboolean("operators", "default_deferrable", fallback=False)
        self.deferrable = deferrable
        self._trigger: WaitingTrigger | None = None

    @abstractmethod
    def trigger(self) -> WaitingTrigger:
        """The trigger that looks for it, from the rendered fields."""

    def execute(self, context: Context) -> Any:
        """Return what was found, at once or after waiting."""
        if not self.deferrable:
            return super().execute(context)
        found = self._look()
        if found is not None:
            return found
        self.defer(trigger=self._waiting(), method_name="resume", timeout=timedelta(seconds=self.timeout))

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """Look once."""
        found = self._look()
        return PokeReturnValue(is_done=True, xcom_value=found) if found is not None else False

    def resume(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Called when the trigger has fired."""
        self.log.info("Found %s", event)
        return event

    def _waiting(self) -> WaitingTrigger:
        # The same one for all looks of this process: what it has seen it goes by.
        if self._trigger is None:
            self._trigger = self.trigger()
        return self._trigger

    def _look(self) -> dict[str, Any] | None:
        try:
            return self._waiting().look()
        except InvalidSpecError as error:
            raise AirflowFailException(str(error)) from error
        except BackendUnavailableError as error:
            self.log.warning("Looking again in %s s: %s", self.poke_interval, error)
            return None
