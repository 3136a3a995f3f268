"""The versions of one model that are in memory, and the one that is active."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypedDict

from airflow_provider_mlops.serving.models.loaded_model import LoadedModel
from airflow_provider_mlops.serving.policy.direct import Direct
from airflow_provider_mlops.serving.policy.policy import ANY_REQUEST, Choice, Policy, RoutingRequest, pinned
from airflow_provider_mlops.serving.rows.request_error import RequestError

WARM = 4
"""The number of a model's versions that stay in memory: the active one, the previous one, and the latest candidates."""


class VersionStatus(TypedDict):
    """A version in memory, as the admin API shows it."""

    version: int
    loaded_at: str
    active: bool


class ModelStatus(TypedDict):
    """A model, as the admin API shows it; `failures` holds why versions could not be loaded."""

    name: str
    active: int | None
    previous: int | None
    versions: list[VersionStatus]
    failures: dict[str, str]


@dataclass
class ServedModel:
    """The state of one model. It changes only on the event loop, by replacing references, so requests never wait."""

    name: str
    versions: dict[int, LoadedModel] = field(default_factory=dict)
    policy: Policy | None = None
    active: int | None = None
    previous: int | None = None
    activations: int = 0
    failures: dict[int, str] = field(default_factory=dict)
    stands_in_for: int | None = None
    """The champion that cannot be used, if the active version only answers because of that."""
    kept: frozenset[int] = frozenset()
    """Versions that a rollout needs and that stay in memory."""
    is_behind: Callable[[], bool] = lambda: False
    """Whether the champion is to be loaded."""

    def choose(self, version: int | None, request: RoutingRequest = ANY_REQUEST) -> tuple[Choice, LoadedModel]:
        """Return the version that answers a request, which may name one.

        Raises RequestError (404, or 503 while the champion is first loaded).
        """
        if version is not None:
            choice = pinned(version)
            if version not in self.versions:
                failure = self.failures.get(version)
                reason = f"could not be loaded: {failure}" if failure else "is not loaded. Load it with the admin API"
                message = f"Version {version} of the model {self.name!r} {reason.rstrip('.')}."
                raise RequestError(404, message, "version")
        elif self.policy is not None:
            choice = self.policy.choose(request)
        else:
            failure = next(iter(reversed(self.failures.values())), None)
            if failure is None and self.is_behind():
                raise RequestError(503, "The gateway is loading its models. Retry later.", Retry_After="1")
            message = f"No version of the model {self.name!r} is active. Deploy one, or name a version in the request."
            if failure is not None:
                message += f" {failure}"
            raise RequestError(404, message, "name")
        return choice, self.versions[choice.version]

    def add(self, model: LoadedModel) -> None:
        """Keep a version in memory in addition to the others; remove the oldest spare one if there are too many."""
        number = model.version.version
        self.versions[number] = model
        self.failures.pop(number, None)
        needed = (self.active, self.previous, number, *self.kept)
        spare = [version for version in self.versions if version not in needed]
        for version in spare[: max(0, len(self.versions) - WARM)]:
            del self.versions[version]

    def remove(self, version: int) -> None:
        """Remove a version that is not active from memory."""
        self.versions.pop(version, None)
        if self.previous == version:
            self.previous = None

    def activate(self, version: int) -> None:
        """Let a loaded version answer all requests from now on. The previous one stays in memory."""
        self.activations += 1
        if version != self.active:
            self.active, self.previous = version, self.active
        self.stands_in_for = None
        self.policy = Direct(version)

    def stand_in(self, version: int, champion: int) -> None:
        """Let a loaded version answer, because the champion cannot be used and no version is active."""
        self.activate(version)
        self.stands_in_for = champion

    def deactivate(self) -> None:
        """Stop answering requests that name no version. Loaded versions stay in memory."""
        self.activations += 1
        self.active, self.policy, self.stands_in_for = None, None, None

    def status(self) -> ModelStatus:
        """Return the status of the model, for the admin API."""
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
