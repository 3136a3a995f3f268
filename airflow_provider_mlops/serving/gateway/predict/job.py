"""One request on its way from its bytes to its answer.

What is made anew for every request is not frozen: that would take four times as long to make.
"""

from __future__ import annotations

from asyncio import Future
from dataclasses import dataclass

from airflow_provider_mlops.serving.models.loaded_model import Answer
from airflow_provider_mlops.serving.policy.policy import Choice
from airflow_provider_mlops.serving.protocols.request import Encoded, Request
from airflow_provider_mlops.serving.rows.request_error import RequestError


@dataclass(slots=True)
class Prediction:
    """An answer, the id under which it was logged, and the version that gave it.

    :ivar latency_ms: from the request's last byte until the answer was there.
    :ivar predict_ms: what the call of the model took of that, alone or for several requests together.
    """

    id: str
    version: int
    encoded: Encoded
    answer: Answer
    latency_ms: float
    predict_ms: float


@dataclass(slots=True)
class Job:
    """A request that waits for its prediction, and what came of it.

    `received` is when its last byte came, of `time.perf_counter`; `outcome` what is to be answered, and `done` is set
    on the event loop once it is there, or cancelled where nobody waits for it any more.
    """

    choice: Choice
    received: float
    request: Request
    done: Future[None] | None = None
    outcome: Prediction | RequestError | None = None

    @property
    def is_given_up(self) -> bool:
        """Whether what comes of it is too late: that was answered, and counted, as a failure."""
        return self.done is not None and self.done.cancelled()
