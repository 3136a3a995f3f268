"""Load the model under evaluation and the champion that it is compared with."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from airflow_provider_mlops.data.names import list_names
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.scoring.metrics import PROBLEMS, Problem
from airflow_provider_mlops.lifecycle.scoring.rows import ScorableModel

if TYPE_CHECKING:
    from airflow_provider_mlops.lifecycle.evaluate.spec import EvaluateSpec
    from airflow_provider_mlops.registry.connection import Registry
    from airflow_provider_mlops.registry.model_version import ModelVersion

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedModels:
    """The model under evaluation and, if it can be compared, the champion.

    Parameters
    ----------
    champion
        The champion, or None if there is none to compare with.
    champion_version
        Version of the champion, even if it cannot be compared.
    champion_note
        Sentence that names the champion in the comparison, or says why there is none.
    """

    problem: Problem
    model: ScorableModel
    champion: ScorableModel | None
    champion_version: int | None
    champion_note: str

    @property
    def by_name(self) -> dict[str, ScorableModel]:
        """Return the models by the names `model` and `champion`."""
        return {"model": self.model} | ({} if self.champion is None else {"champion": self.champion})


def load_models(
    spec: EvaluateSpec, registry: Registry, version: ModelVersion, features: tuple[str, ...]
) -> LoadedModels:
    """Load the version and the champion. A champion that cannot be loaded is left out, with the reason in the note."""
    from airflow_provider_mlops.registry import models

    model = ScorableModel(models.load(registry, version, allow_pickle=spec.allow_pickle), features)
    problem = _resolve_problem(spec, registry, version, model)
    champion_version, champion, note = _load_champion(spec, registry, version)
    return LoadedModels(problem, model, champion, champion_version, note)


def feature_names(registry: Registry, version: ModelVersion) -> tuple[str, ...]:
    """Return the columns of the version's signature."""
    from airflow_provider_mlops.registry import models

    return tuple(models.signature(registry, version).inputs.input_names())


def _resolve_problem(spec: EvaluateSpec, registry: Registry, version: ModelVersion, model: ScorableModel) -> Problem:
    from airflow_provider_mlops.registry import models, tags

    trained = models.metadata(registry, version).get("problem") or models.tags(registry, version).get(tags.PROBLEM)
    inferred: Problem = "regression" if model.classes is None else "classification"
    problem = spec.problem or (cast("Problem", trained) if trained in PROBLEMS else inferred)
    if problem == "regression" and model.classes is not None:
        raise InvalidSpecError(
            "problem", problem, f"{version} predicts classes. Remove the field, or use 'classification'"
        )
    return problem


def _load_champion(
    spec: EvaluateSpec, registry: Registry, version: ModelVersion
) -> tuple[int | None, ScorableModel | None, str]:
    """Return the champion's version, the model if it can be compared, and a sentence about the comparison."""
    from airflow_provider_mlops.registry import models, promotion

    champion = promotion.champion(registry, version.name)
    if champion is None:
        return None, None, "there is no champion yet"
    if champion.version == version.version:
        return champion.version, None, f"version {champion.version} is the champion itself"
    cannot = f"the champion, version {champion.version}, cannot be compared"
    try:
        features = feature_names(registry, champion)
        missing = set(features) - {column.name for column in spec.dataset.manifest.columns}
        if missing:
            return champion.version, None, f"{cannot}: the test rows lack its columns {list_names(sorted(missing), 5)}"
        model = ScorableModel(models.load(registry, champion, allow_pickle=spec.allow_pickle), features)
    except InvalidSpecError as error:
        log.warning("Evaluating without the champion, version %d, which cannot be loaded: %s", champion.version, error)
        return champion.version, None, f"{cannot}: {str(error).rstrip('.')}"
    return champion.version, model, f"compared with the champion, version {champion.version}, on the same rows"
