"""The door: `Access.authorize` decides whether a request may go on, for every protocol."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from airflow_provider_mlops.serving.gateway.access import keyring
from airflow_provider_mlops.serving.gateway.access.addresses import client_network, is_loopback
from airflow_provider_mlops.serving.gateway.access.keys import Amount, Client, Right
from airflow_provider_mlops.serving.gateway.access.limits import Budget, Budgets, LimitError, general_limits
from airflow_provider_mlops.serving.gateway.access.origins import check_origin
from airflow_provider_mlops.serving.gateway.access.wrong_keys import WrongKeys, WrongKeysError
from airflow_provider_mlops.serving.gateway.http.metrics import Metrics
from airflow_provider_mlops.serving.gateway.settings import Settings
from airflow_provider_mlops.serving.log import prediction_id
from airflow_provider_mlops.serving.rows.request_error import RequestError

Headers = Iterable[tuple[bytes, bytes]]

_MAX_KEY_BYTES = 1024
_LIMITED: dict[Right | None, tuple[Amount, ...]] = {
    None: ("requests",),
    "prediction": ("requests", "rows", "bytes"),
    "feedback": ("requests", "labels", "bytes"),
    # A deployment and the monitoring go on, whatever the client has used up.
    "administration": (),
    "monitoring": (),
}


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request.

    Parameters
    ----------
    client
        The client whose key the request has; None if it has none.
    budget
        What the caller may still use; None if nothing is limited.
    """

    client: Client | None = None
    budget: Budget | None = None

    def spend(self, amount: Amount, count: int) -> None:
        """Take rows, bytes or labels of the caller's limits."""
        if self.budget is not None:
            self.budget.spend(amount, count)

    def covers(self, model: str) -> bool:
        """Return whether the caller may see a model."""
        return self.client is None or self.client.covers(model)


_ANYONE = Caller()


class Access:
    """Who may do what. One object per gateway process; its methods run on the event loop.

    Parameters
    ----------
    settings
        Options of `airflow-mlops serve`.
    metrics
        Metrics to update.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.keyring = keyring.open_keyring(settings.keys, settings.storage_uri)
        self._metrics = metrics
        self._origins = frozenset(settings.cors_origins)
        self._open_rights = open_rights(settings)
        self._limits = general_limits(settings)
        self._budgets = Budgets()
        self._wrong_keys = WrongKeys()

    def authorize(
        self, headers: Headers, right: Right | None, model: str | None = None, address: str | None = None
    ) -> Caller:
        """Let a request in, or raise RequestError: 401 without a valid key, 403 without the right, 429 over a limit.

        A valid key is never limited because of wrong ones, since several clients may share the address of a proxy.

        Parameters
        ----------
        headers
            Headers of the request, or metadata of a call, with names in lower case.
        right
            The right that the request needs. None if any key will do.
        model
            The model that the request concerns. None if none is named, or if it concerns no single model.
        address
            Address of the client, which stands for it if it has no key.
        """
        credentials: list[bytes] = []
        origin: bytes | None = None
        for name, value in headers:
            if name == b"authorization":
                credentials.append(value)
            elif name == b"origin":
                origin = value
        client = self._client(credentials)
        if right not in self._open_rights:
            if client is None:
                self._count_wrong(credentials, address)
                raise _unauthorized(credentials)
            if not client.may(right, model):
                raise _forbidden(client, right, model)
        elif client is None and origin is not None:
            # Otherwise the answer to a request with this header would tell a right key from a wrong one.
            self._count_wrong(credentials, address)
            check_origin(origin, headers, self._origins)
        return self._limited(client, right, address)

    def require(self, headers: Headers, right: Right, model: str | None = None, address: str | None = None) -> None:
        """Check that a request also has a key with a right that its path does not need. Raises as `authorize` does."""
        credentials = [value for name, value in headers if name == b"authorization"]
        client = self._client(credentials)
        if client is None:
            self._count_wrong(credentials, address)
            raise _unauthorized(credentials)
        if not client.may(right, model):
            raise _forbidden(client, right, model)

    def check_model(self, caller: Caller, right: Right, model: str) -> None:
        """Check the model of a request that does not name it. Raises RequestError (403)."""
        if right not in self._open_rights and caller.client is not None and not caller.client.may(right, model):
            raise _forbidden(caller.client, right, model)

    def check_predictions(self, caller: Caller, names: Iterable[str]) -> None:
        """Check that the caller may label predictions of these ids. Raises RequestError (403)."""
        if "feedback" in self._open_rights or caller.client is None or caller.client.models is None:
            return
        other = prediction_id.other_model(names, caller.client.models)
        if other is not None:
            raise RequestError(
                403,
                f"The key of the client {caller.client.name!r} does not have the right 'feedback' for the model of the "
                f"prediction {other}. No label of this request was accepted. Use another key, or ask an administrator.",
                "prediction_id",
            )

    async def refresh(self) -> None:
        """Read the key file again if it has changed."""
        self.keyring.refresh()

    def _count_wrong(self, credentials: list[bytes], address: str | None) -> None:
        """Count a key that is not valid; a request without a key tries none. Raises WrongKeysError (429)."""
        if not credentials:
            return
        try:
            self._wrong_keys.count(address)
        except WrongKeysError:
            self._metrics.count_limited("", "wrong keys")
            raise

    def _client(self, credentials: list[bytes]) -> Client | None:
        if len(credentials) != 1:
            return None
        scheme, _, key = credentials[0].strip().partition(b" ")
        key = key.strip()
        if scheme.lower() != b"bearer" or not 0 < len(key) <= _MAX_KEY_BYTES:
            return None
        return self.keyring.find(key)

    def _limited(self, client: Client | None, right: Right | None, address: str | None) -> Caller:
        limits = client.limits if client is not None and client.limits else self._limits
        amounts = _LIMITED[right] if limits else ()
        if not amounts:
            return _ANYONE if client is None else Caller(client)
        # The names of clients have no colon, as the addresses have here.
        name = client.name if client is not None else f"address:{client_network(address or '')}"
        budget = self._budgets.of(name, limits)
        try:
            budget.check(amounts)
        except LimitError as error:
            self._metrics.count_limited("" if client is None else client.name, error.amount)
            raise
        budget.spend("requests", 1)
        return Caller(client, budget)


def open_rights(settings: Settings) -> frozenset[Right | None]:
    """Return the rights that need no key.

    On loopback, all but administration is open unless keys are given. On any other address, `--open` opens predictions
    only, because feedback decides rollouts.
    """
    is_local = is_loopback(settings.host)
    if not (settings.open or (is_local and not keyring.are_given(settings.keys))):
        return frozenset()
    return frozenset({None, "prediction", *(("feedback", "monitoring") if is_local else ())})


def _unauthorized(credentials: list[bytes]) -> RequestError:
    if not credentials:
        problem = "This request requires a key."
    elif len(credentials) > 1:
        problem = "This request has several Authorization headers."
    else:
        problem = "The key is not valid."
    return RequestError(
        401,
        f"{problem} Send the header `Authorization: Bearer KEY`.",
        "Authorization",
        WWW_Authenticate='Bearer realm="airflow-mlops"',
    )


def _forbidden(client: Client, right: Right | None, model: str | None) -> RequestError:
    what = f"the right {right!r}" if right is not None else "a right"
    if client.has(right):
        what += f" for the model {model[:100]!r}" if model is not None else " for all models"
    return RequestError(
        403,
        f"The key of the client {client.name!r} does not have {what}. Use another key, or ask an administrator.",
        "Authorization",
    )
