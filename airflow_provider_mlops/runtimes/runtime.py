"""What every runtime does: carry out one step with a spec, in a workspace."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from airflow_provider_mlops.lifecycle.step import Result, Spec, Step
from airflow_provider_mlops.lifecycle.workspace import Workspace


class Runtime(ABC):
    """Carries out steps somewhere. An operator holds one; it has no state beyond its settings."""

    template_fields: ClassVar[tuple[str, ...]] = ()
    """The settings in which Airflow renders templates, and which the UI shows."""

    @abstractmethod
    def run(self, step: Step[Any, Any], spec: Spec, workspace: Workspace) -> Result:
        """Carry out the step and return its result.

        Raises the same MlopsError that the step raised, wherever that was.
        """

    def kill(self) -> None:
        """End what `run` has started. Called when the task is killed; must be safe at any time."""

    def __repr__(self) -> str:
        # The same in every process: Airflow takes a DAG whose text differs for another version of it.
        settings = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.template_fields)
        return f"{type(self).__name__}({settings})"
