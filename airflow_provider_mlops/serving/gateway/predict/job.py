"""One prediction request between its routing and its response.

Objects that are created for every request are not frozen: a frozen dataclass takes four times as long to create.
"""

from __future__ import annotations

from asyncio import Future
from dataclasses import dataclass

from airflow_provider_mlops.serving.models.loaded_model import ModelResponse
from airflow_provider_mlops.serving.policy.policy import Choice
from airflow_provider_mlops.serving.protocols.parsed_request import Encoded, ParsedRequest
from airflow_provider_mlops.serving.rows.request_error import RequestError


@dataclass(slots=True)
class Prediction:
    """A model's response to one request, as it is logged and sent.

    Parameters
    ----------
    id
        Id under which the prediction is logged.
    version
        Version that made it.
    encoded
        Body of the HTTP response.
    response
        Response of the model.
    latency_ms
        Milliseconds from the request's last byte to the prediction.
    predict_ms
        Milliseconds of these that the model call took, for this request alone or for a batch.
    rows
        Number of rows; predictions without rows are not logged.
    """

    id: str
    version: int
    encoded: Encoded
    response: ModelResponse
    latency_ms: float
    predict_ms: float
    rows: int


@dataclass(slots=True)
class Job:
    """A parsed request that is predicted, alone or in a batch.

    ::

        created --Batcher.submit--> waiting --predict_jobs--> finished: `outcome` is set
                                       |
                                       +--caller times out--> abandoned: `done` is cancelled

    A job whose body is parsed in a thread skips "waiting"; it can be abandoned in the same way. An abandoned job that
    still gets an outcome is not logged, because the caller has already been told that it failed.

    Parameters
    ----------
    choice
        Version and arm that the request was routed to.
    received
        Time of the request's last byte, from `time.perf_counter`.
    parsed
        The request.
    done
        Resolved on the event loop when `outcome` is set, or cancelled when the caller stops waiting.
    outcome
        The prediction, or the error to respond with; None until the job is finished.
    """

    choice: Choice
    received: float
    parsed: ParsedRequest
    done: Future[None] | None = None
    outcome: Prediction | RequestError | None = None

    @property
    def is_abandoned(self) -> bool:
        """Whether the caller has stopped waiting."""
        return self.done is not None and self.done.cancelled()
