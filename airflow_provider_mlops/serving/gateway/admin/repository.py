"""Loads and unloads models by the extension `model_repository` of the Open Inference Protocol, as Triton has it.

MLflow's alias `champion` decides which models are served, so a load without a version serves the champion, and a model
that has a champion cannot be unloaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_mlops.serving.gateway.admin.model_control import ModelControl
from airflow_provider_mlops.serving.models.served_model import ModelStatus
from airflow_provider_mlops.serving.models.served_models import ServedModels
from airflow_provider_mlops.serving.protocols.routes import parse_version
from airflow_provider_mlops.serving.rows.request_error import RequestError, format_value


class ModelRepository:
    """The models that an administrator loads and unloads. The caller checks the administrator's right.

    Parameters
    ----------
    models
        Models in memory.
    control
        Applies changes.
    """

    def __init__(self, models: ServedModels, control: ModelControl) -> None:
        self._models = models
        self._control = control

    async def load(self, name: str, parameters: Mapping[str, Any]) -> ModelStatus:
        """Load the version that the parameter `version` names; without it, serve the champion. Raises RequestError."""
        version = _version(parameters, allowed=("version",))
        if version is not None:
            return (await self._control.load(name, version)).status()
        champion = self._models.champions.version(name)
        if champion is None:
            raise RequestError(
                404,
                f"The model {name[:200]!r} has no champion that could be loaded. Deploy a version, or send the "
                "parameter version.",
                "name",
            )
        return (await self._control.activate(name, champion, champion=True)).status()

    async def unload(self, name: str, parameters: Mapping[str, Any]) -> ModelStatus:
        """Stop serving a model that has no champion. Raises RequestError: 409 if it has one."""
        version = _version(parameters, allowed=("version", "unload_dependents"))
        served = self._models.get(name)
        champion = self._models.champions.version(name)
        if champion is not None and version in (None, served.active, champion):
            raise RequestError(
                409,
                f"The model {name!r} is served because version {champion} is its champion in MLflow. Remove the alias "
                "champion, and the gateway stops serving the model.",
                "name",
            )
        if served.active is None or version not in (None, served.active):
            raise RequestError(
                409,
                f"Only the active version of the model {name!r} can be unloaded. The gateway itself removes other "
                "versions from memory.",
                "version",
            )
        return (await self._control.deactivate(name, served.active)).status()


def _version(parameters: Mapping[str, Any], allowed: tuple[str, ...]) -> int | None:
    for name in parameters:
        if name not in allowed:
            raise RequestError(
                400,
                f"Unknown parameter {format_value(name)}. Allowed parameters: {', '.join(allowed)}. Models come from "
                "MLflow, so a request cannot contain a model or its configuration.",
                "parameters",
            )
    version = parameters.get("version")
    if version is None:
        return None
    if type(version) not in (int, str) or version == "":
        raise RequestError(400, f"version must be a positive integer, not {format_value(version)}.", "version")
    return parse_version(str(version))
