"""The admin API: which versions are loaded, and which of them is active. `access/doors.py` lets requests in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from airflow_provider_mlops.serving.gateway.access.access import Caller
from airflow_provider_mlops.serving.gateway.access.doors import CALLER
from airflow_provider_mlops.serving.gateway.admin.model_control import ModelControl
from airflow_provider_mlops.serving.gateway.admin.repository import ModelRepository
from airflow_provider_mlops.serving.gateway.rollouts.rollout_follower import RolloutFollower
from airflow_provider_mlops.serving.models.served_model import ServedModel
from airflow_provider_mlops.serving.models.served_models import ServedModels
from airflow_provider_mlops.serving.protocols import body, encoding
from airflow_provider_mlops.serving.rows.request_error import RequestError, format_value, json_response

_MAX_BODY_BYTES = 10_000


class AdminApi:
    """The handlers of the admin API.

    Parameters
    ----------
    models
        Models in memory.
    follower
        Rollouts that are in progress.
    control
        Applies changes.
    """

    def __init__(self, models: ServedModels, follower: RolloutFollower, control: ModelControl) -> None:
        self._models = models
        self._follower = follower
        self._control = control
        self.repository = ModelRepository(models, control)

    def routes(self) -> list[Route]:
        """Return the routes under `/admin`, and those of the protocol's model repository."""
        return [
            Route("/admin/models", self.models, methods=["GET"]),
            Route("/admin/models/{name}", self.model, methods=["GET"]),
            Route("/admin/models/{name}/load", self.load, methods=["POST"]),
            Route("/admin/models/{name}/activate", self.activate, methods=["POST"]),
            Route("/admin/models/{name}/deactivate", self.deactivate, methods=["POST"]),
            Route("/admin/compact", self.compact, methods=["POST"]),
            Route("/v2/repository/models/{name}/load", self.load_from_repository, methods=["POST"]),
            Route("/v2/repository/models/{name}/unload", self.unload_from_repository, methods=["POST"]),
        ]

    async def models(self, request: Request) -> Response:
        """Return the state of all models that the key is for, and whether MLflow is available."""
        caller: Caller = request.scope[CALLER]
        models = [
            {**model, "rollout": self._follower.status(model["name"])}
            for model in self._models.status()
            if caller.covers(model["name"])
        ]
        return json_response({"models": models, "registry_error": self._models.champions.error})

    async def model(self, request: Request) -> Response:
        """Return the state of one model."""
        name = request.path_params["name"]
        return json_response({**self._models.get(name).status(), "rollout": self._follower.status(name)})

    async def load(self, request: Request) -> Response:
        """Load `{"version": N}` without activating it; requests that name the version can use it."""
        return await self._change(request, lambda name, version, content: self._control.load(name, version))

    async def activate(self, request: Request) -> Response:
        """Activate `{"version": N}`, which is loaded first if necessary.

        `"champion": true` says that the champion alias already points to this version.
        """

        async def change(name: str, version: int, content: dict[str, Any]) -> ServedModel:
            champion = content.get("champion", False)
            if type(champion) is not bool:
                raise RequestError(400, f"champion must be a boolean, not {format_value(champion)}.", "champion")
            return await self._control.activate(name, version, champion=champion)

        return await self._change(request, change)

    async def deactivate(self, request: Request) -> Response:
        """Deactivate `{"version": N}`, whose promotion was withdrawn; requests can still name the version."""

        async def change(name: str, version: int, content: dict[str, Any]) -> ServedModel:
            return await self._control.deactivate(name, version)

        return await self._change(request, change)

    async def compact(self, request: Request) -> Response:
        """Compact the prediction log now, so that readers on other machines see all of it."""
        try:
            segments = await self._control.compact()
        except Exception as error:
            raise RequestError(
                503, f"Could not compact the prediction log: {str(error).rstrip('.')}.", Retry_After="5"
            ) from error
        return json_response({"segments": segments})

    async def load_from_repository(self, request: Request) -> Response:
        """Serve the champion, or load the version that the parameters name."""
        parameters = await self._parameters(request)
        return json_response(await self.repository.load(request.path_params["name"], parameters))

    async def unload_from_repository(self, request: Request) -> Response:
        """Stop serving a model that has no champion."""
        parameters = await self._parameters(request)
        return json_response(await self.repository.unload(request.path_params["name"], parameters))

    async def _parameters(self, request: Request) -> dict[str, Any]:
        headers = dict(request.scope["headers"])
        received = await body.receive_json(headers, request.receive, _MAX_BODY_BYTES)
        content: Any = encoding.decode(received) if received.strip() else {}
        parameters = content.get("parameters") if type(content) is dict else ()
        if parameters is None:
            return {}
        if type(parameters) is not dict:
            raise RequestError(
                400, f'The body must be {{"parameters": {{...}}}}, not {format_value(content)}.', "parameters"
            )
        return parameters

    async def _change(
        self, request: Request, change: Callable[[str, int, dict[str, Any]], Awaitable[ServedModel]]
    ) -> Response:
        headers = dict(request.scope["headers"])
        content: Any = encoding.decode(await body.receive_json(headers, request.receive, _MAX_BODY_BYTES))
        version = content.get("version") if type(content) is dict else None
        if type(version) is float and version.is_integer():
            version = int(version)
        if type(version) is not int or not 1 <= version < 2**31:
            raise RequestError(400, f'The body must be {{"version": N}}, not {format_value(content)}.', "version")
        name = request.path_params["name"]
        try:
            model = await change(name, version, content)
        except RequestError as error:
            raise RequestError(
                error.status, error.message + self._active_note(name), error.field, **error.headers
            ) from None
        return json_response(model.status())

    def _active_note(self, name: str) -> str:
        """Return a sentence that says which version stays active, if any."""
        try:
            active = self._models.get(name).active
        except RequestError:
            return ""
        return "" if active is None else f" Version {active} stays active."
