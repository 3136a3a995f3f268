"""Talks to a gateway over HTTP, with this package's errors."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import httpx

from airflow_provider_mlops.data.json_values import json_value
from airflow_provider_mlops.errors import BackendUnavailableError, InvalidSpecError, RejectedError
from airflow_provider_mlops.serving.protocols.headers import VERIFICATION_HEADER

if TYPE_CHECKING:
    import pandas as pd


TOKEN_FIELD = "gateway_conn_id"
"""The field that an error about the token names: the connection whose password the token is."""


@dataclass(frozen=True)
class InferResult:
    """What a gateway answered: one entry for each row.

    `probabilities` has one list a row, in the order of `classes`; None where the model knows none.
    """

    model: str
    version: int
    prediction_ids: tuple[str, ...]
    output: list[Any]
    classes: tuple[str, ...]
    probabilities: list[list[float]] | None


class GatewayClient:
    """A client of one gateway. Use it in a `with` block, or call `close`.

    :param token: for the admin calls `load`, `activate`, `deactivate`, `models`, `model` and `compact`, and for
        verifications.
    :param timeout: seconds for a whole answer. Loading a version may take longer, see `load`.

    Every call raises BackendUnavailableError if nobody answers or the gateway says "not now"; InvalidSpecError if the token is
    wrong, a model or version is unknown, or a value does not fit; RejectedError if a version cannot be served.
    """

    def __init__(self, url: str, token: str | None = None, timeout: float = 30.0) -> None:
        self.url = url.rstrip("/")
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._http = httpx.Client(timeout=httpx.Timeout(timeout, connect=min(timeout, 5.0)), headers=headers)

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
        """Predict rows: a DataFrame, a list of records, or a mapping of columns. All rows go in one request.

        :param version: is asked past the routing; by default the routing chooses.
        :param verification: mark the request as a check of the gateway, which the log keeps apart from the traffic. It
            is routed as any other, and takes the token.
        """
        columns = _columns(rows)
        inputs = [_tensor(column, values) for column, values in columns.items()]
        place = f"/v2/models/{quote(name, safe='')}" + ("" if version is None else f"/versions/{version}")
        headers = {VERIFICATION_HEADER: "true"} if verification else None
        return _predictions(self._post(f"{place}/infer", {"inputs": inputs}, headers=headers))

    def ready(self) -> bool:
        """Whether the gateway answers and has loaded its models. Never raises for a gateway that is away."""
        try:
            return self._http.get(f"{self.url}/v2/health/ready").status_code == 200
        except httpx.HTTPError:
            return False

    def model_ready(self, name: str, version: int | None = None) -> bool:
        """Whether the model, or that version of it, answers. Never raises for a gateway that is away."""
        place = "" if version is None else f"/versions/{version}"
        try:
            return self._http.get(f"{self.url}/v2/models/{quote(name, safe='')}{place}/ready").status_code == 200
        except httpx.HTTPError:
            return False

    def metadata(self, name: str, version: int | None = None) -> dict[str, Any]:
        """The inputs and outputs of a model as the Open Inference Protocol describes them."""
        place = "" if version is None else f"/versions/{version}"
        return self._get(f"/v2/models/{quote(name, safe='')}{place}")

    def models(self) -> list[dict[str, Any]]:
        """The state of all models: `name`, `active`, `previous`, `versions`, `failures`."""
        return list(self._get("/admin/models")["models"])

    def model(self, name: str) -> dict[str, Any]:
        """The state of one model, as in `models`."""
        return self._get(f"/admin/models/{quote(name, safe='')}")

    def load(self, name: str, version: int, timeout: float = 300.0) -> dict[str, Any]:
        """Load a version beside the one that answers. Returns the model's state.

        A version that fails to load raises RejectedError and changes nothing.
        """
        return self._post(f"/admin/models/{quote(name, safe='')}/load", {"version": version}, timeout=timeout)

    def activate(self, name: str, version: int, *, champion: bool = False, timeout: float = 300.0) -> dict[str, Any]:
        """Let a version answer from now on, at once if it is loaded. Returns the model's state.

        :param champion: say so if the champion alias is at this version already, so that the gateway follows it from
            here; otherwise the version stays until the gateway sees the alias move.
        """
        content = {"version": version, "champion": champion}
        return self._post(f"/admin/models/{quote(name, safe='')}/activate", content, timeout=timeout)

    def deactivate(self, name: str, version: int) -> dict[str, Any]:
        """Let a version that was withdrawn answer no longer, unless another one answers already. Returns the state."""
        return self._post(f"/admin/models/{quote(name, safe='')}/deactivate", {"version": version})

    def feedback(self, prediction_id: str, label: str | float | bool) -> None:
        """Give the label of one prediction. The last one counts, and sending it twice changes nothing."""
        self._post("/feedback", {"prediction_id": prediction_id, "label": label})

    def reward(self, prediction_id: str, reward: float) -> None:
        """Say how good the answer of one prediction was. The first one counts, and sending it twice changes nothing."""
        self._post("/feedback", {"prediction_id": prediction_id, "reward": reward})

    def feedback_many(self, labels: Iterable[tuple[str, str | float | bool]]) -> int:
        """Give many labels in one request, as (prediction id, label). Returns how many."""
        entries = [{"prediction_id": name, "label": label} for name, label in labels]
        return int(self._post("/feedback", {"feedback": entries})["accepted"]) if entries else 0

    def compact(self, timeout: float = 300.0) -> int:
        """Have the gateway compact its prediction log, so that readers on other machines see all of it."""
        return int(self._post("/admin/compact", {}, timeout=timeout)["segments"])

    def metrics(self) -> str:
        """What the gateway tells Prometheus, as text; `gateway/request_counts.py` reads it."""
        return self._send("GET", "/metrics", None, None, None).text

    def _get(self, path: str) -> dict[str, Any]:
        return self._answer("GET", path, None, None)

    def _post(
        self, path: str, content: Any, timeout: float | None = None, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        return self._answer("POST", path, content, timeout, headers)

    def _answer(
        self, method: str, path: str, content: Any, timeout: float | None, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        answer = self._send(method, path, content, timeout, headers)
        try:
            return dict(answer.json())
        except ValueError as error:
            raise InvalidSpecError("gateway_url", self.url, "what answers there is not a gateway") from error

    def _send(
        self, method: str, path: str, content: Any, timeout: float | None, headers: dict[str, str] | None
    ) -> httpx.Response:
        patience: Any = httpx.USE_CLIENT_DEFAULT if timeout is None else httpx.Timeout(timeout, connect=5.0)
        try:
            answer = self._http.request(method, self.url + path, json=content, timeout=patience, headers=headers)
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise InvalidSpecError("gateway_url", self.url, f"{error}: write it as http://host:port") from error
        except httpx.HTTPError as error:
            what = f"{type(error).__name__} {error}".strip()
            raise BackendUnavailableError(
                "The gateway",
                self.url,
                what,
                "Check that `airflow-mlops serve` is running there and that the address is right",
            ) from error
        if answer.status_code == 200:
            return answer
        raise self._error(answer)

    def _error(self, answer: httpx.Response) -> Exception:
        try:
            content = answer.json()
            message, field = str(content["error"]), content.get("field")
        except (ValueError, KeyError, TypeError, AttributeError):
            message, field = answer.text[:200], None
        status = answer.status_code
        if status == 401:
            given = "a token" if "Authorization" in answer.request.headers else None
            return InvalidSpecError(
                TOKEN_FIELD,
                given,
                f"{message}; the token is the password of the connection to the gateway at {self.url}",
            )
        if status in (408, 429) or status >= 500:
            return BackendUnavailableError(
                "The gateway", self.url, f"status {status}: {message}", "Read the log of the gateway"
            )
        if answer.request.url.path.startswith("/admin/") and status == 422:
            return RejectedError(message)
        return InvalidSpecError(str(field or answer.request.url.path), status, message)


def _columns(rows: Any) -> dict[str, list[Any]]:
    if isinstance(rows, Mapping):
        return {str(name): list(values) for name, values in rows.items()}
    if hasattr(rows, "columns"):
        return {str(name): rows[name].tolist() for name in rows.columns}
    records = list(rows)
    names = dict.fromkeys(name for record in records for name in record)
    return {str(name): [record.get(name) for record in records] for name in names}


def _tensor(name: str, values: list[Any]) -> dict[str, Any]:
    data = [_model_value(value) for value in values]
    shown = next((value for value in data if value is not None), None)
    datatype = "BOOL" if isinstance(shown, bool) else "BYTES" if isinstance(shown, str) else "FP64"
    return {"name": name, "shape": [len(data)], "datatype": datatype, "data": data}


def _model_value(value: Any) -> Any:
    value = json_value(value)
    if isinstance(value, float) and math.isinf(value):
        raise InvalidSpecError("rows", value, "models do not accept infinite numbers. Remove these rows")
    return value


def _predictions(content: dict[str, Any]) -> InferResult:
    outputs = {output["name"]: output for output in content["outputs"]}
    predict = outputs["predict"]
    probabilities = outputs.get("predict_proba")
    parameters = content["parameters"]
    return InferResult(
        model=content["model_name"],
        version=int(content["model_version"]),
        prediction_ids=tuple(parameters.get("prediction_ids") or [parameters["prediction_id"]]),
        output=_nested(predict),
        classes=() if probabilities is None else tuple(probabilities["parameters"]["classes"]),
        probabilities=None if probabilities is None else _nested(probabilities),
    )


def _nested(tensor: dict[str, Any]) -> list[Any]:
    """The flat data of a tensor, as one list a row where it has two dimensions."""
    data, shape = tensor["data"], tensor["shape"]
    if len(shape) == 1:
        return list(data)
    return [data[row * shape[1] : (row + 1) * shape[1]] for row in range(shape[0])]
