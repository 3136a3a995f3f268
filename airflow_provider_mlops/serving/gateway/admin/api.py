"""The admin API: which versions are loaded and which of them answers. Every request needs the token."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from airflow_provider_mlops.serving.gateway.admin import authorization
from airflow_provider_mlops.serving.gateway.admin.model_control import ModelControl
from airflow_provider_mlops.serving.gateway.rollout_follower import RolloutFollower
from airflow_provider_mlops.serving.models.served_model import ServedModel
from airflow_provider_mlops.serving.models.served_models import ServedModels
from airflow_provider_mlops.serving.protocols import body, encoding
from airflow_provider_mlops.serving.rows.request_error import RequestError, json_response, shown

_MAXIMUM_BYTES = 10_000


class AdminApi:
    """The handlers, over the models they change.

    :param following: the rollouts that are under way.
    :param changes: carries changes out.
    """

    def __init__(self, models: ServedModels, following: RolloutFollower, expected: str, changes: ModelControl) -> None:
        self._models = models
        self._following = following
        self._token = expected
        self._changes = changes

    def routes(self) -> list[Route]:
        """The paths under `/admin`."""
        return [
            Route("/admin/models", self.models, methods=["GET"]),
            Route("/admin/models/{name}", self.model, methods=["GET"]),
            Route("/admin/models/{name}/load", self.load, methods=["POST"]),
            Route("/admin/models/{name}/activate", self.activate, methods=["POST"]),
            Route("/admin/models/{name}/deactivate", self.deactivate, methods=["POST"]),
            Route("/admin/compact", self.compact, methods=["POST"]),
        ]

    async def models(self, request: Request) -> Response:
        """The state of all models, and whether MLflow answers."""
        authorization.require(dict(request.scope["headers"]), self._token)
        models = [{**model, "rollout": self._following.status(model["name"])} for model in self._models.status()]
        return json_response({"models": models, "registry_error": self._models.registry_error})

    async def model(self, request: Request) -> Response:
        """The state of one model."""
        authorization.require(dict(request.scope["headers"]), self._token)
        name = request.path_params["name"]
        return json_response({**self._models.get(name).status(), "rollout": self._following.status(name)})

    async def load(self, request: Request) -> Response:
        """Load `{"version": N}` beside the version that answers; it answers where a request names it."""
        return await self._change(request, lambda name, version, content: self._changes.load(name, version))

    async def activate(self, request: Request) -> Response:
        """Let `{"version": N}` answer from now on. At once if it is loaded; otherwise it is loaded first.

        With `"champion": true` the caller says that the champion alias is at this version already.
        """

        async def change(name: str, version: int, content: dict[str, Any]) -> ServedModel:
            champion = content.get("champion", False)
            if type(champion) is not bool:
                raise RequestError(400, f"send true or false, not {shown(champion)}", "champion")
            return await self._changes.activate(name, version, champion=champion)

        return await self._change(request, change)

    async def deactivate(self, request: Request) -> Response:
        """Let `{"version": N}` answer no longer where a request names no version: its promotion was withdrawn."""

        async def change(name: str, version: int, content: dict[str, Any]) -> ServedModel:
            return await self._changes.deactivate(name, version)

        return await self._change(request, change)

    async def compact(self, request: Request) -> Response:
        """Compact the prediction log now, so that readers elsewhere see all of it."""
        authorization.require(dict(request.scope["headers"]), self._token)
        try:
            segments = await self._changes.compact()
        except Exception as error:
            raise RequestError(503, f"the prediction log cannot be compacted now: {error}", Retry_After="5") from error
        return json_response({"segments": segments})

    async def _change(
        self, request: Request, change: Callable[[str, int, dict[str, Any]], Awaitable[ServedModel]]
    ) -> Response:
        authorization.require(dict(request.scope["headers"]), self._token)
        headers = dict(request.scope["headers"])
        content: Any = encoding.parse(await body.read(headers, request.receive, _MAXIMUM_BYTES))
        version = content.get("version") if type(content) is dict else None
        if type(version) is float and version.is_integer():
            version = int(version)
        if type(version) is not int or not 1 <= version < 2**31:
            raise RequestError(400, f'send {{"version": N}}, not {shown(content)}', "version")
        name = request.path_params["name"]
        try:
            model = await change(name, version, content)
        except RequestError as refusal:
            raise RequestError(
                refusal.status, refusal.message + self._going_on(name), refusal.field, **refusal.headers
            ) from None
        return json_response(model.status())

    def _going_on(self, name: str) -> str:
        try:
            active = self._models.get(name).active
        except RequestError:
            return ""
        return "" if active is None else f" (version {active} goes on answering)"
