"""The interface of runtimes: run one step with a spec, in a workspace."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from airflow_provider_mlops.lifecycle.step import Result, Spec, Step
from airflow_provider_mlops.lifecycle.workspace import Workspace


class Runtime(ABC):
    """A place where steps run. An operator has one. It has no state besides its settings."""

    template_fields: ClassVar[tuple[str, ...]] = ()
    """Settings in which Airflow renders templates, and which the UI shows."""

    @abstractmethod
    def run(self, step: Step[Any, Any], spec: Spec, workspace: Workspace) -> Result:
        """Run the step and return its result. Raises the same MlopsError that the step raised."""

    def kill(self) -> None:
        """End everything that `run` has started. Called when the task is killed, so it must be safe at any time."""

    def __repr__(self) -> str:
        # The same in every process: Airflow creates a new version of a DAG whenever its text differs.
        settings = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.template_fields)
        return f"{type(self).__name__}({settings})"
