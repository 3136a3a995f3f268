"""The payloads with which triggers fire, and which sensors return as their XCom."""

from __future__ import annotations

from typing import NotRequired, TypedDict, final


@final
class NewFilesEvent(TypedDict):
    """Files that are newer than a time."""

    paths: list[str]
    """The newest of them, newest first."""
    count: int
    """The number of all new files."""
    newest: str
    """When the newest file was modified, as ISO 8601."""


@final
class NewDatasetEvent(TypedDict):
    """The fields of a `Dataset`."""

    uri: str
    name: str
    rows: int
    fingerprint: str


class NewVersionEvent(TypedDict):
    """The fields of a `ModelVersion`."""

    name: str
    version: int
    run_id: str


class EndpointReadyEvent(TypedDict):
    """An endpoint that serves predictions."""

    model_name: str
    version: int
    url: str


class EndpointHealthyEvent(EndpointReadyEvent):
    """An endpoint that was healthy, with the measurements of the last check."""

    requests: int
    error_rate: float
    latency_ms: float | None


class FeedbackEvent(TypedDict):
    """The number of predictions in the log, and of those that have a label or a reward."""

    model_name: str
    predictions: int
    labels: int
    rewards: int


class RolloutFinishedEvent(TypedDict):
    """A rollout that is over."""

    rollout: str
    """The rollout's id."""
    model_name: str
    status: str
    version: int | None
    """The version that serves predictions from now on."""
    reason: str


class HitlUser(TypedDict):
    """A user who answered a question in Airflow."""

    id: str
    name: str


class RolloutEvent(TypedDict):
    """A reason to resume the task of a rollout, and the answer of a user if there is one."""

    why: str
    chosen_options: NotRequired[list[str]]
    responded_by_user: NotRequired[HitlUser | None]


class TimedOutEvent(TypedDict):
    """The deadline has passed."""

    timed_out: str
    """The last thing that the trigger saw."""
