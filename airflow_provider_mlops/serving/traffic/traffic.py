"""The settings of a replay: which dataset, to which gateway, and how fast."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_mlops.errors import InvalidSpecError

if TYPE_CHECKING:
    from airflow_provider_mlops.data.dataset import Dataset

CORRECT = "correct"


@dataclass(frozen=True)
class Traffic:
    """The settings of a replay. Raises InvalidSpecError for an invalid value.

    The replay sends the columns of the dataset that the model needs. It ends with the dataset, or at the first of the
    bounds `requests` and `seconds`. With `repeat` and without bounds, it continues until it is stopped.

    Parameters
    ----------
    dataset
        Dataset, its URI, or the path or URI of a Parquet or CSV file. A CSV file is held in memory.
    model
        Name of the model.
    gateway_url
        URL of the gateway.
    rate
        Requests per second. Requests are due at their times whether or not earlier ones are answered.
    even
        Whether requests are due at equal intervals. By default, they arrive at random, as a Poisson process.
    seed
        Random seed for the times of requests and for which rows get a label.
    rows
        Number of rows per request.
    requests
        Maximum number of requests.
    seconds
        Time for which requests are sent. Requests that are not sent within one second after it are given up.
    repeat
        Whether to start again at the end of the dataset.
    clients
        Maximum number of requests in flight, each on its own connection. Further requests wait.
    timeout
        Time in seconds after which a request without a response is given up.
    headers
        Names of headers, each with the column that contains its value (in the request's first row).
    target
        Column with the labels. Rows without a value get no label.
    label_delay
        Time in seconds between a prediction and its label.
    label_share
        Share of rows that get a label and a reward.
    label_patience
        Time in seconds for which a label that is not acknowledged is sent again, before it is given up.
    reward
        Column with the rewards. They are sent with the labels, or alone.
    reward_from
        `correct`: the reward is 1 if the prediction equals the label, and 0 otherwise.
    record
        Path of a local file to which each response, failure and acknowledged label is written immediately.

    Examples
    --------
    >>> Traffic("rows.parquet", "churn", rate=-1)
    Traceback (most recent call last):
    ...
    airflow_provider_mlops.errors.InvalidSpecError: Invalid rate=-1: it must be a number greater than 0.
    """

    dataset: str | Dataset
    model: str
    gateway_url: str = "http://127.0.0.1:8710"
    rate: float = 10.0
    even: bool = False
    seed: int = 0
    rows: int = 1
    requests: int | None = None
    seconds: float | None = None
    repeat: bool = False
    clients: int = 16
    timeout: float = 30.0
    headers: Mapping[str, str] = field(default_factory=dict)
    target: str | None = None
    label_delay: float = 0.0
    label_share: float = 1.0
    label_patience: float = 60.0
    reward: str | None = None
    reward_from: str | None = None
    record: str | None = None

    def __post_init__(self) -> None:
        for name in ("rate", "timeout", "seconds"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise InvalidSpecError(name, value, "it must be a number greater than 0")
        for name in ("rows", "clients", "requests"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidSpecError(name, value, "it must be an integer of at least 1")
        for name in ("label_delay", "label_patience"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InvalidSpecError(name, getattr(self, name), "it must be a number of seconds of at least 0")
        if not 0 <= self.label_share <= 1:
            raise InvalidSpecError("label_share", self.label_share, "it must be a share between 0 and 1")
        if self.reward_from not in (None, CORRECT):
            hint = f"it must be {CORRECT!r}. To send rewards from a column, set reward instead"
            raise InvalidSpecError("reward_from", self.reward_from, hint)
        if self.reward_from and (self.reward or not self.target):
            hint = "it needs target, and cannot be combined with reward. Set target and remove reward"
            raise InvalidSpecError("reward_from", self.reward_from, hint)

    @property
    def has_feedback(self) -> bool:
        """Whether predictions are followed by labels or rewards."""
        return self.target is not None or self.reward is not None
