"""The versions of one model that are in memory, and which of them answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from airflow_provider_mlops.serving.models.loaded_model import LoadedModel
from airflow_provider_mlops.serving.policy.direct import Direct
from airflow_provider_mlops.serving.policy.policy import ANY_REQUEST, Choice, Policy, RoutingRequest, pinned
from airflow_provider_mlops.serving.rows.request_error import RequestError

WARM = 4
"""How many versions of a model stay in memory: the active one, the one before it, and the latest candidates."""


@dataclass
class ServedModel:
    """The state of one model. It is changed on the event loop only, by replacing references: no request ever waits."""

    name: str
    versions: dict[int, LoadedModel] = field(default_factory=dict)
    policy: Policy | None = None
    active: int | None = None
    previous: int | None = None
    activations: int = 0
    failures: dict[int, str] = field(default_factory=dict)
    kept: frozenset[int] = frozenset()
    """Versions that a rollout needs: they are not let go."""

    def choose(self, version: int | None, request: RoutingRequest = ANY_REQUEST) -> tuple[Choice, LoadedModel]:
        """Who answers a request that names a version, or none. Raises RequestError (404)."""
        if version is not None:
            choice = pinned(version)
            if version not in self.versions:
                failure = self.failures.get(version)
                reason = f"it could not be loaded: {failure}" if failure else "it is not loaded"
                raise RequestError(
                    404, f"version {version} of the model {self.name!r} does not serve: {reason}", "version"
                )
        elif self.policy is not None:
            choice = self.policy.choose(request)
        else:
            raise RequestError(404, f"no version of the model {self.name!r} is active: deploy one", "name")
        return choice, self.versions[choice.version]

    def add(self, model: LoadedModel) -> None:
        """Keep a version next to the others, so that requests can name it. The oldest spare one is let go."""
        number = model.version.version
        self.versions[number] = model
        self.failures.pop(number, None)
        spare = [other for other in self.versions if other not in (self.active, self.previous, number, *self.kept)]
        for other in spare[: max(0, len(self.versions) - WARM)]:
            del self.versions[other]

    def activate(self, version: int) -> None:
        """Let a loaded version answer all requests from now on. The one before it stays in memory."""
        self.activations += 1
        if version != self.active:
            self.active, self.previous = version, self.active
        self.policy = Direct(version)

    def deactivate(self) -> None:
        """Let no version answer requests that name none. What is loaded stays in memory."""
        self.activations += 1
        self.active, self.policy = None, None

    def status(self) -> dict[str, Any]:
        """What the admin API says of the model."""
        return {
            "name": self.name,
            "active": self.active,
            "previous": self.previous,
            "versions": [
                {
                    "version": number,
                    "loaded_at": datetime.fromtimestamp(model.loaded_at, tz=UTC).isoformat(),
                    "active": number == self.active,
                }
                for number, model in sorted(self.versions.items())
            ],
            "failures": {str(number): message for number, message in sorted(self.failures.items())},
        }
