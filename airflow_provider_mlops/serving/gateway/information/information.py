"""Information about the gateway and its models: metadata, the repository index, and statistics.

HTTP and gRPC both answer from here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from importlib import metadata

from airflow_provider_mlops.serving.gateway.access.access import Caller
from airflow_provider_mlops.serving.gateway.http.metrics import Metrics
from airflow_provider_mlops.serving.models.served_model import ServedModel
from airflow_provider_mlops.serving.models.served_models import ServedModels
from airflow_provider_mlops.serving.protocols import model_metadata, protocol_v2
from airflow_provider_mlops.serving.protocols.responses import (
    IndexEntry,
    ModelMetadata,
    Readiness,
    ServerMetadata,
    VersionStatistics,
)

DISTRIBUTION = "airflow-provider-mlops"


class Information:
    """The answers of one process.

    Parameters
    ----------
    models
        Models in memory.
    metrics
        Metrics, from which the statistics are made.
    readiness
        Returns whether predictions can be answered.
    weights
        Yields model, version, arm and weight of everything that requests are routed to.
    """

    def __init__(
        self,
        models: ServedModels,
        metrics: Metrics,
        readiness: Callable[[], Readiness],
        weights: Callable[[], Iterable[tuple[str, int, str, float]]],
    ) -> None:
        self._models = models
        self._metrics = metrics
        self._weights = weights
        self.readiness = readiness

    def server(self) -> ServerMetadata:
        """Return the name, version and extensions of this server."""
        return {"name": DISTRIBUTION, "version": metadata.version(DISTRIBUTION), "extensions": protocol_v2.EXTENSIONS}

    def model(self, name: str, version: int | None) -> ModelMetadata:
        """Return the inputs and outputs of a model, and its loaded versions. Raises RequestError (404)."""
        served = self._models.get(name)
        _, model = served.choose(version)
        return model_metadata.metadata(served.name, sorted(served.versions), model)

    def ready_version(self, name: str, version: int | None) -> int:
        """Return the version that answers requests. Raises RequestError: 404 if there is none."""
        _, model = self._models.get(name).choose(version)
        return model.version.version

    def model_names(self, caller: Caller) -> list[str]:
        """Return the names of the models with an active version, as far as the caller's key goes."""
        return sorted(model.name for model in self._visible(caller) if model.active is not None)

    def index(self, caller: Caller, ready_only: bool = False) -> list[IndexEntry]:
        """Return every version that is loaded, or that could not be loaded, as far as the caller's key goes."""
        entries: list[IndexEntry] = []
        for model in self._visible(caller):
            entries += [
                {"name": model.name, "version": str(number), "state": "READY", "reason": ""}
                for number in sorted(model.versions)
            ]
            if not ready_only:
                failed = sorted((number, why) for number, why in model.failures.items() if number not in model.versions)
                entries += [
                    {"name": model.name, "version": str(number), "state": "UNAVAILABLE", "reason": reason}
                    for number, reason in failed
                ]
        return entries

    def statistics(self, name: str, version: int | None = None) -> list[VersionStatistics]:
        """Return how many requests each loaded version, or one of them, has answered. Raises RequestError (404)."""
        served = self._models.get(name)
        if version is not None:
            served.choose(version)
        counts = self._metrics.counts(name)
        shares: defaultdict[int, float] = defaultdict(float)
        for model, number, _, weight in self._weights():
            shares[number] += weight if model == name else 0.0
        versions = sorted(served.versions) if version is None else [version]
        return [
            {
                "name": name,
                "version": str(number),
                "share": round(shares[number], 6),
                "inference_count": counts[number].rows,
                "inference_stats": {
                    "success": {"count": counts[number].answered, "ns": round(counts[number].seconds * 1e9)},
                    "fail": {"count": counts[number].failed},
                },
            }
            for number in versions
        ]

    def all_statistics(self, caller: Caller) -> list[VersionStatistics]:
        """Return the statistics of all models, as far as the caller's key goes."""
        return [entry for model in self._visible(caller) for entry in self.statistics(model.name)]

    def _visible(self, caller: Caller) -> list[ServedModel]:
        return sorted(
            (model for model in self._models.all() if caller.covers(model.name)), key=lambda model: model.name
        )
