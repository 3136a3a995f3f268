"""What is replayed, where to and how fast."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.serving.defaults import DEFAULT_GATEWAY_URL

if TYPE_CHECKING:
    from airflow_provider_mlops.data.dataset import Dataset

CORRECT = "correct"


@dataclass(frozen=True)
class Traffic:
    """What is replayed. Raises InvalidSpecError for a value that cannot be.

    Of the dataset's columns, those are sent that the model takes. It ends with the dataset or at the first of the
    bounds `requests` and `seconds`; with `repeat` and no bound it goes on until it is stopped.

    :ivar dataset: a Dataset, its URI, or the path or URI of a Parquet or CSV file. A CSV file is held in memory.
    :ivar model: the model's name.
    :ivar gateway_url: where the gateway listens.
    :ivar rate: requests/s. Requests are due at their times whether or not earlier ones are answered.
    :ivar even: whether requests are due at equal distances; by default they come at random, as a Poisson process.
    :ivar seed: of the times and of which rows get a label.
    :ivar rows: how many rows go in one request.
    :ivar requests: how many requests are sent at most.
    :ivar seconds: for how long requests are sent. Those that are not sent a second later are given up.
    :ivar repeat: whether the dataset begins again when it ends.
    :ivar clients: how many requests are under way at most, each on a connection of its own. Others wait for their turn.
    :ivar timeout: seconds after which a request without an answer is given up.
    :ivar headers: names of headers, each with the column that gives its value; with several rows, of the first one.
    :ivar target: the column with the labels. Rows in which it is missing get none.
    :ivar label_delay: seconds from an answer to its label.
    :ivar label_share: the share of the rows that get a label and a reward.
    :ivar label_patience: for how many seconds a label is sent again that is not acknowledged; then it is lost.
    :ivar reward: the column with the rewards, which are sent with the labels or alone.
    :ivar reward_from: `correct`: the reward is 1 where the answer is the label, and 0 where it is not.
    :ivar record: the path of a local file to which each answer, failure and acknowledged label is written at once.
    """

    dataset: str | Dataset
    model: str
    gateway_url: str = DEFAULT_GATEWAY_URL
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
                raise InvalidSpecError(name, value, "give a number above 0")
        for name in ("rows", "clients", "requests"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidSpecError(name, value, "give a whole number of at least 1")
        for name in ("label_delay", "label_patience"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InvalidSpecError(name, getattr(self, name), "give seconds, at least 0")
        if not 0 <= self.label_share <= 1:
            raise InvalidSpecError("label_share", self.label_share, "give a share from 0 to 1")
        if self.reward_from not in (None, CORRECT):
            raise InvalidSpecError("reward_from", self.reward_from, f"give {CORRECT!r}, or the column as reward")
        if self.reward_from and (self.reward or not self.target):
            raise InvalidSpecError("reward_from", self.reward_from, "give a target with it, and no reward")

    @property
    def tells(self) -> bool:
        """Whether answers are followed by labels or rewards."""
        return self.target is not None or self.reward is not None
