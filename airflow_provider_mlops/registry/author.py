"""Who decides about a model: a task, or a person at the command line."""

from __future__ import annotations

import getpass
import socket
from typing import TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from airflow_provider_mlops.data.task_identity import TaskIdentity


class Person(BaseModel):
    """A person who decides at the command line.

    >>> Person(name="ada@workstation").key
    'ada@workstation'
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, description="User and host of the command.")

    @property
    def key(self) -> str:
        """Name of the person, as it stands in the history of a rollout."""
        return self.name

    @classmethod
    def at_command_line(cls) -> Person:
        """Return the user who runs this process."""
        try:
            user = getpass.getuser()
        except (KeyError, OSError, ImportError):
            # In a container, a user may have a number, but no name.
            user = "unknown"
        return cls(name=f"{user}@{socket.gethostname()}")


Author: TypeAlias = TaskIdentity | Person
