"""A client of MLflow that sets its environment variables for each call, and raises the errors of this package."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from airflow_provider_mlops.errors import BackendUnavailableError, InvalidSpecError
from airflow_provider_mlops.registry.environment import lend

_UNAVAILABLE_STATUS = {429, 500, 502, 503, 504}


class Guard:
    """Runs calls to one MLflow server or database with its settings.

    Parameters
    ----------
    address
        Address of the server or database, without a password.
    settings
        Environment variables for the calls; None unsets one.
    """

    def __init__(self, address: str, settings: dict[str, str | None]) -> None:
        self.address = address
        self.settings = settings

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Set the environment variables inside the block, and translate MLflow's errors.

        Raises
        ------
        BackendUnavailableError
            The server or the database does not respond.
        InvalidSpecError
            The server rejects the credentials.
        MlflowException
            Any other error of MLflow.
        """
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with lend(self.settings):
                yield
        except (MlflowException, SQLAlchemyError, OSError) as error:
            translated = self._translate(error)
            if translated is None:
                raise
            raise translated from error

    def _translate(self, error: BaseException) -> Exception | None:
        import requests
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import InterfaceError, OperationalError

        status: int | None = None
        if isinstance(error, MlflowException):
            status = error.get_http_status_code()  # type: ignore[no-untyped-call,unused-ignore]
        text = str(error)
        if status in (401, 403) or "error code 401" in text or "error code 403" in text:
            return InvalidSpecError(
                "mlflow_conn_id",
                self.address,
                "the server rejects the credentials. Correct the login and password, or the token, of the connection",
            )
        for cause in _causes(error):
            if isinstance(cause, requests.exceptions.ConnectionError | requests.exceptions.Timeout):
                return self._unavailable("no response")
            if isinstance(cause, requests.exceptions.RequestException) and getattr(cause, "response", None) is None:
                return self._unavailable(f"request failed: {type(cause).__name__}")
            if isinstance(cause, OperationalError | InterfaceError):
                reason = str(cause.orig).strip() if cause.orig else str(cause)
                return self._unavailable(reason)
        if self.address.startswith("http") and status in _UNAVAILABLE_STATUS and "API request" in text:
            return self._unavailable(f"error response: {text[:300]}")
        return None

    def _unavailable(self, cause: str) -> BackendUnavailableError:
        hint = "Check that it is running and that the host of the connection is correct"
        return BackendUnavailableError("MLflow", self.address, cause, hint)


class GuardedClient:
    """An MlflowClient whose method calls are guarded."""

    def __init__(self, client: Any, guard: Guard) -> None:
        self._client = client
        self._guard = guard

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._client, name)
        if not callable(attribute):
            return attribute

        @functools.wraps(attribute)
        def guarded(*arguments: Any, **keywords: Any) -> Any:
            with self._guard():
                return attribute(*arguments, **keywords)

        return guarded


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__
