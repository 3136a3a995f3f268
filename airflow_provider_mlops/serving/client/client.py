"""A client for the gateway's HTTP API, which raises this package's errors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast
from urllib.parse import quote, unquote

import httpx

from airflow_provider_mlops.errors import BackendUnavailableError, InvalidSpecError, RejectedError
from airflow_provider_mlops.serving.client import tensors
from airflow_provider_mlops.serving.client.credentials import ClientTls, authorization, certificate_problem
from airflow_provider_mlops.serving.defaults import DEFAULT_GATEWAY_URL
from airflow_provider_mlops.serving.protocols.headers import VERIFICATION_HEADER
from airflow_provider_mlops.serving.protocols.responses import AllModels, InferResponse, ModelMetadata, ModelStatus

if TYPE_CHECKING:
    import pandas as pd


KEY_FIELD = "gateway_conn_id"
"""Field that an error about the key names: the connection whose password is the key."""

_MODEL_PATH = re.compile(r"/models/(?P<name>[^/]+)(?:/versions/(?P<version>\d+))?")
_MAX_QUOTED_VALUES = 10


@dataclass(frozen=True)
class InferResult:
    """A prediction, with one entry per row.

    Parameters
    ----------
    model, version
        Model and version that made it.
    prediction_ids
        Ids under which the rows were logged; labels refer to them.
    output
        Predicted values.
    classes
        Names of the classes, if the model has probabilities.
    probabilities
        One list per row, in the order of `classes`; None if the model has no probabilities.
    """

    model: str
    version: int
    prediction_ids: tuple[str, ...]
    output: list[Any]
    classes: tuple[str, ...]
    probabilities: list[list[float]] | None


class GatewayClient:
    """A client of one gateway. Use it in a `with` block, or call `close`.

    All calls raise BackendUnavailableError if the gateway is unavailable or overloaded, InvalidSpecError if the key is
    not valid or lacks a right, the certificate is not trusted, the model or version is unknown or a value is invalid,
    and RejectedError if a version cannot be served.

    Parameters
    ----------
    url
        Address of the gateway.
    key
        Key with the rights that the calls need. `load`, `activate`, `deactivate`, `models`, `model`, `compact` and
        verifications always need the right `administration`.
    timeout
        Maximum duration of a call in seconds, unless the call has its own timeout.
    tls
        Authorities that sign the gateway's certificate, and the caller's own certificate.

    Examples
    --------
    >>> with GatewayClient("http://127.0.0.1:1", timeout=1) as client:
    ...     client.ready()
    False
    """

    def __init__(
        self,
        url: str = DEFAULT_GATEWAY_URL,
        key: str | None = None,
        timeout: float = 30.0,
        *,
        tls: ClientTls | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._tls = tls or ClientTls()
        self._http = httpx.Client(
            timeout=httpx.Timeout(timeout, connect=min(timeout, 5.0)),
            headers={} if key is None else {"Authorization": authorization(key)},
            verify=self._tls.context() or True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def infer(
        self,
        name: str,
        rows: pd.DataFrame | Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]],
        version: int | None = None,
        *,
        verification: bool = False,
    ) -> InferResult:
        """Predict rows in one request.

        Parameters
        ----------
        name
            Name of the model.
        rows
            A DataFrame, a list of records, or a mapping of columns.
        version
            Version that predicts; by default, the gateway's routing chooses it.
        verification
            Mark the request as a check of the gateway, which is routed like any other but logged separately from user
            traffic. This requires the right `administration`.
        """
        headers = {VERIFICATION_HEADER: "true"} if verification else None
        content = {"inputs": tensors.encode(rows)}
        return _infer_result(
            cast(InferResponse, self._post(f"{_model_path(name, version)}/infer", content, headers=headers))
        )

    def ready(self) -> bool:
        """Return whether the gateway is available and has loaded its models."""
        return self._is_ok("/v2/health/ready")

    def model_ready(self, name: str, version: int | None = None) -> bool:
        """Return whether the gateway is available and serves the model, or the given version of it."""
        return self._is_ok(f"{_model_path(name, version)}/ready")

    def metadata(self, name: str, version: int | None = None) -> ModelMetadata:
        """Return the inputs and outputs of a model, as the Open Inference Protocol describes them."""
        return cast(ModelMetadata, self._get(_model_path(name, version)))

    def models(self) -> list[ModelStatus]:
        """Return the state of all models."""
        return cast(AllModels, self._get("/admin/models"))["models"]

    def model(self, name: str) -> ModelStatus:
        """Return the state of one model."""
        return cast(ModelStatus, self._get(_admin_path(name)))

    def load(self, name: str, version: int, timeout: float = 300.0) -> ModelStatus:
        """Load a version without activating it. Returns the model's state.

        Raises RejectedError if the version cannot be loaded; nothing changes then.
        """
        return cast(ModelStatus, self._post(f"{_admin_path(name)}/load", {"version": version}, timeout=timeout))

    def activate(self, name: str, version: int, *, champion: bool = False, timeout: float = 300.0) -> ModelStatus:
        """Activate a version, which is loaded first if necessary. Returns the model's state.

        The active version answers all requests that do not name a version.

        Parameters
        ----------
        champion
            Whether the champion alias already points to this version. If it does not, the version stays active until
            the gateway sees the alias move.
        """
        content = {"version": version, "champion": champion}
        return cast(ModelStatus, self._post(f"{_admin_path(name)}/activate", content, timeout=timeout))

    def deactivate(self, name: str, version: int) -> ModelStatus:
        """Deactivate a version whose promotion was withdrawn, if it is active. Returns the model's state."""
        return cast(ModelStatus, self._post(f"{_admin_path(name)}/deactivate", {"version": version}))

    def feedback(self, prediction_id: str, label: str | float | bool) -> None:
        """Send the label of a prediction. The last label counts; sending it twice changes nothing."""
        self._post("/feedback", {"prediction_id": prediction_id, "label": label})

    def reward(self, prediction_id: str, reward: float) -> None:
        """Send the reward of a prediction, which rates it. The first one counts; sending it twice changes nothing."""
        self._post("/feedback", {"prediction_id": prediction_id, "reward": reward})

    def feedback_many(self, labels: Iterable[tuple[str, str | float | bool]]) -> int:
        """Send many labels in one request, as (prediction id, label). Returns the number of labels."""
        entries = [{"prediction_id": name, "label": label} for name, label in labels]
        return int(self._post("/feedback", {"feedback": entries})["accepted"]) if entries else 0

    def compact(self, timeout: float = 300.0) -> int:
        """Compact the prediction log, so that readers on other machines see all of it.

        Returns the number of segments.
        """
        return int(self._post("/admin/compact", {}, timeout=timeout)["segments"])

    def metrics(self) -> str:
        """Return the text of `/metrics`; see `RequestCounts.parse`."""
        return self._send("GET", "/metrics").text

    def _is_ok(self, path: str) -> bool:
        """Return whether the status is 200. Raises InvalidSpecError if waiting cannot help, as without a valid key."""
        try:
            response = self._http.get(self.url + path)
        except httpx.HTTPError as error:
            if (problem := certificate_problem(error)) is not None:
                raise self._not_trusted(problem) from error
            return False
        if response.status_code in (401, 403):
            raise self._error(response, path, None)
        return response.status_code == 200

    def _get(self, path: str) -> dict[str, Any]:
        return self._decode(self._send("GET", path))

    def _post(
        self, path: str, content: Mapping[str, Any], timeout: float | None = None, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        return self._decode(self._send("POST", path, content, timeout, headers))

    def _decode(self, response: httpx.Response) -> dict[str, Any]:
        try:
            return dict(response.json())
        except ValueError as error:
            raise InvalidSpecError(
                "gateway_url", self.url, "it must be the address of a gateway, but the server there is not a gateway"
            ) from error

    def _send(
        self,
        method: str,
        path: str,
        content: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        limit: Any = httpx.USE_CLIENT_DEFAULT if timeout is None else httpx.Timeout(timeout, connect=5.0)
        try:
            response = self._http.request(method, self.url + path, json=content, timeout=limit, headers=headers)
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise InvalidSpecError("gateway_url", self.url, "it must have the form http://host:port") from error
        except httpx.HTTPError as error:
            if (problem := certificate_problem(error)) is not None:
                raise self._not_trusted(problem) from error
            raise BackendUnavailableError(
                "The gateway",
                self.url,
                f"{type(error).__name__} {error}".strip(),
                "Check that `airflow-mlops serve` is running there and that the address is right"
                # A server that refuses a certificate often closes the connection without a word.
                + (", and the client certificate if the gateway requires one" if self.url.startswith("https") else ""),
            ) from error
        if response.status_code == 200:
            return response
        raise self._error(response, path, content)

    def _not_trusted(self, problem: str) -> InvalidSpecError:
        return InvalidSpecError(
            "ca_bundle",
            self._tls.ca_bundle,
            f"the TLS connection to {self.url} failed: {problem}. Check the CA bundle, the name in the URL, and the "
            "certificate that the gateway expects of its clients",
        )

    def _error(self, response: httpx.Response, path: str, sent: Mapping[str, Any] | None) -> Exception:
        try:
            content = response.json()
            message, field = str(content["error"]), content.get("field")
        except (ValueError, KeyError, TypeError, AttributeError):
            message, field = response.text[:200], None
        status = response.status_code
        if status in (401, 403) and field == "Authorization":
            key = "a key" if "Authorization" in response.request.headers else None
            problem = message.partition(". ")[0]
            return InvalidSpecError(
                KEY_FIELD,
                key,
                f"{problem}. Set the password of the connection to a key with this right for the gateway at {self.url}",
            )
        if status in (408, 429) or status >= 500:
            return BackendUnavailableError(
                "The gateway", self.url, f"status {status}: {message}", "Check the log of the gateway"
            )
        if path.startswith("/admin/") and status == 422:
            return RejectedError(message)
        if field is None:
            return InvalidSpecError(path, status, message)
        return InvalidSpecError(str(field), _sent_value(str(field), path, sent), message)


def _model_path(name: str, version: int | None) -> str:
    return f"/v2/models/{quote(name, safe='')}" + ("" if version is None else f"/versions/{version}")


def _admin_path(name: str) -> str:
    return f"/admin/models/{quote(name, safe='')}"


def _sent_value(field: str, path: str, content: Mapping[str, Any] | None) -> object:
    """Return what a request had as a field: a part of its path or body, or the first values of a column."""
    match = _MODEL_PATH.search(path)
    if match is not None and match.groupdict().get(field) is not None:
        return unquote(match[field])
    if content is None:
        return None
    if field in content:
        return content[field]
    columns = {tensor["name"]: tensor["data"][:_MAX_QUOTED_VALUES] for tensor in content.get("inputs", ())}
    return columns.get(field)


def _infer_result(response: InferResponse) -> InferResult:
    outputs = {output["name"]: output for output in response["outputs"]}
    predict = outputs["predict"]
    probabilities = outputs.get("predict_proba")
    parameters = response["parameters"]
    return InferResult(
        model=response["model_name"],
        version=int(response["model_version"]),
        prediction_ids=tuple(parameters.get("prediction_ids") or [parameters["prediction_id"]]),
        output=tensors.decode(predict),
        classes=() if probabilities is None else tuple(probabilities.get("parameters", {})["classes"]),
        probabilities=None if probabilities is None else tensors.decode(probabilities),
    )
