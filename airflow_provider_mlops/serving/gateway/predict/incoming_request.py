"""A prediction request before its body has arrived, what is known about it for the metrics, and its deadline."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from airflow_provider_mlops.serving.gateway.access.access import Caller
from airflow_provider_mlops.serving.protocols.body import Body
from airflow_provider_mlops.serving.protocols.memory_budget import Reservation
from airflow_provider_mlops.serving.protocols.routes import PredictRoute
from airflow_provider_mlops.serving.rows.request_error import ModelFailureError, RequestError

_FAIR_SECONDS = 1.0
"""A version that misses a caller's deadline has failed if it had at least this long."""


@dataclass(slots=True)
class IncomingRequest:
    """A prediction request of any protocol before its body has arrived.

    Parameters
    ----------
    route
        How the body is parsed, and the model and the version that the request names.
    pairs
        Headers, or metadata of a call, with names in lower case; a name may be repeated.
    headers
        The same by name.
    address
        Address of the client.
    receive
        Receives the body.
    reservation
        Memory of the request.
    deadline
        Time of `time.perf_counter` after which the caller no longer waits, if it has said so.
    """

    route: PredictRoute
    pairs: Sequence[tuple[bytes, bytes]]
    headers: Mapping[bytes, bytes]
    address: str | None
    receive: Callable[[], Awaitable[Body]]
    reservation: Reservation
    deadline: float | None = None


class RequestLabels:
    """The metric labels of a request, as far as they are known, and its deadline."""

    __slots__ = ("arm", "caller", "deadline", "model", "received", "rows", "version")

    def __init__(self, deadline: float | None) -> None:
        self.caller: Caller | None = None
        self.model = self.arm = ""
        self.deadline = deadline
        self.version: int | None = None
        self.received = 0.0
        self.rows = 0


def deadline_passed(seconds: float) -> RequestError:
    """Return the error for a caller whose deadline passed while a version was predicting.

    It counts against the version if the caller waited for a fair time. Otherwise anyone could end a rollout by requests
    with deadlines that no version can meet.
    """
    message = "The deadline of the request passed before the prediction was ready."
    return ModelFailureError(504, message) if seconds >= _FAIR_SECONDS else RequestError(504, message)
