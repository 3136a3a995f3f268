"""Shapes of the gateway's JSON responses, as the client returns them. `openapi_schemas` describes the same objects."""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict


class LoadedVersion(TypedDict):
    """A version in memory: its number, when it was loaded (ISO 8601), and whether it is the active one."""

    version: int
    loaded_at: str
    active: bool


class RolloutStatus(TypedDict):
    """The rollout of a model, as one gateway process follows it.

    `arms` gives the version of each arm and `weights` its share of the requests outside the cohort. `step_text` is the
    step in words, and `cohort` the condition for a request to be in the cohort; None if there is no cohort.
    `last_check` is the time (ISO 8601) of the last check by the task that `last_check_by` names, and
    `unattended_timeout` the seconds without a check after which the gateways roll the rollout back. `store_error` says
    why the rollout store is unavailable; None if it is available.
    """

    id: str
    strategy: str
    status: str
    paused: bool
    step: int
    step_text: str
    arms: dict[str, int]
    weights: dict[str, float]
    cohort: str | None
    last_check: str | None
    last_check_by: str | None
    unattended_timeout: float | None
    store_error: str | None


class ModelStatus(TypedDict):
    """The state of a model: the active and the previous version, loaded versions, and load errors by version."""

    name: str
    active: int | None
    previous: int | None
    versions: list[LoadedVersion]
    failures: dict[str, str]
    rollout: NotRequired[RolloutStatus | None]


class AllModels(TypedDict):
    """The state of all models; `registry_error` says why MLflow is unavailable, None if it is available."""

    models: list[ModelStatus]
    registry_error: str | None


class TensorMetadata(TypedDict):
    """An input or output of a model; -1 in the shape stands for the number of rows."""

    name: str
    datatype: str
    shape: list[int]
    parameters: NotRequired[dict[str, Any]]


class ModelMetadata(TypedDict):
    """Inputs and outputs of a model in the Open Inference Protocol, and its loaded versions."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class OutputTensor(TypedDict):
    """An output of an infer response; `data` is flat."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any]
    parameters: NotRequired[dict[str, Any]]


class ResponseParameters(TypedDict):
    """The id under which the prediction was logged and, for several rows, one id per row; no id without rows."""

    prediction_id: NotRequired[str]
    prediction_ids: NotRequired[list[str]]


class InferResponse(TypedDict):
    """A prediction in the Open Inference Protocol."""

    model_name: str
    model_version: str
    id: str
    parameters: ResponseParameters
    outputs: list[OutputTensor]


class ServerMetadata(TypedDict):
    """Name and version of the gateway, and the extensions of the Open Inference Protocol that it has."""

    name: str
    version: str
    extensions: list[str]


class Readiness(TypedDict):
    """Whether predictions can be answered: `status` is ready, degraded or not ready, and the lists say why."""

    ready: bool
    status: str
    reasons: list[str]
    degraded: list[str]
    failing: list[str]


class IndexEntry(TypedDict):
    """A version in the repository index; `state` is READY or UNAVAILABLE, and `reason` says why it is unavailable."""

    name: str
    version: str
    state: str
    reason: str


class Duration(TypedDict):
    """Number of requests and, for those that were answered, the nanoseconds that they took together."""

    count: int
    ns: NotRequired[int]


class InferenceStatistics(TypedDict):
    """Requests that a version answered, and those that failed or were rejected."""

    success: Duration
    fail: Duration


class VersionStatistics(TypedDict):
    """Requests of users since the gateway started; `inference_count` is their number of rows.

    `share` is the share of the model's requests that the version receives now.
    """

    name: str
    version: str
    share: float
    inference_count: int
    inference_stats: InferenceStatistics
