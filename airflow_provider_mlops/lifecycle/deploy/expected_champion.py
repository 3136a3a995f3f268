"""A version that is to take the champion's place, and the champion that it was compared with."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from pydantic import Field

from airflow_provider_mlops.errors import InvalidSpecError, PromotionConflictError
from airflow_provider_mlops.lifecycle.step import Spec
from airflow_provider_mlops.registry.model_version import ModelVersion

if TYPE_CHECKING:
    from airflow_provider_mlops.registry.connection import Registry

log = logging.getLogger(__name__)


class Replacement(Spec):
    """What deploying and rolling out have in common."""

    model: ModelVersion = Field(description="The version to deploy, such as `validate.output['model']`.")
    expected_champion: int | None = Field(
        default=None,
        ge=1,
        description="The champion that the model was compared with, such as `validate.output['champion_version']`. If "
        "another version is champion by now, the step fails with `PromotionConflictError`. By default the one that "
        "the version's evaluation compared with; a version without an evaluation was compared with none, and then the "
        "champion at the start of the step must still be champion when the alias moves.",
    )
    check_champion: bool = Field(
        default=True, description="Whether the champion must be the expected one. `False` deploys over whichever it is."
    )
    reason: str = Field(default="", description="Why, for the audit trail.")
    allow_pickle: bool = Field(
        default=False,
        description="Whether the step may load a pickled model to compare with, which runs whatever code is in it. The "
        "gateway has a switch of its own.",
    )
    verify_timeout: float = Field(
        default=60.0, gt=0, description="How many seconds the gateway has for loading the version and for each answer."
    )


def expected_version(registry: Registry, model: ModelVersion, spec: Replacement) -> int | None:
    """The champion that must be there. Raises PromotionConflictError if another one is, before any work is done."""
    from airflow_provider_mlops.registry import promotion

    champion = promotion.champion(registry, model.name)
    current = None if champion is None else champion.version
    if not spec.check_champion:
        return current
    if spec.expected_champion is not None:
        expected: int | None = spec.expected_champion
    else:
        compared, expected = _evaluated_against(registry, model)
        if not compared:
            expected = current
    if current != expected:
        raise PromotionConflictError(
            f"expected_champion={expected}: {model} was compared with "
            f"{'no champion' if expected is None else f'version {expected}'}, but "
            f"{'there is no champion' if current is None else f'version {current} is champion'} now. "
            "Evaluate and validate it again, then deploy"
        )
    return expected


def _evaluated_against(registry: Registry, model: ModelVersion) -> tuple[bool, int | None]:
    """Whether the version has an evaluation, and the champion that it was compared with there."""
    from airflow_provider_mlops.lifecycle.scoring.evaluation import Evaluation
    from airflow_provider_mlops.registry import models, tags

    uri = models.tags(registry, model).get(tags.EVALUATION_URI)
    if uri is None:
        return False, None
    try:
        evaluation = Evaluation.read(uri)
    except InvalidSpecError as error:
        log.warning("The evaluation of %s cannot be read, so its champion is not checked: %s", model, error)
        return False, None
    return True, evaluation.champion_version
