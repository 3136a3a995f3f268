"""A version that is to replace the champion, and the champion that it was compared with."""

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
    """The fields that deploy and rollout share."""

    model: ModelVersion = Field(description="Version to deploy, such as `validate.output['model']`.")
    expected_champion: int | None = Field(
        default=None,
        ge=1,
        description="Champion that the version was compared with, such as `validate.output['champion_version']`. If "
        "another version is the champion now, the step fails with `PromotionConflictError`. Defaults to the champion "
        "in the version's evaluation. If there is no evaluation, the default is the champion at the start of the "
        "step; it must still be the champion when the version replaces it.",
    )
    check_champion: bool = Field(
        default=True,
        description="Whether `expected_champion` must be the champion. With `False`, the version replaces any "
        "champion.",
    )
    reason: str = Field(default="", description="Reason for the deployment, for the audit trail.")
    allow_pickle: bool = Field(
        default=False,
        description="Whether the step may load a pickled model to compare predictions. Loading a pickle runs the code "
        "in it. The gateway has its own setting.",
    )
    verify_timeout: float = Field(
        default=60.0,
        gt=0,
        description="Maximum time in seconds for the gateway to load the version, and to answer each request.",
    )


def expected_version(registry: Registry, model: ModelVersion, spec: Replacement) -> int | None:
    """Return the version that must be champion. Raises PromotionConflictError if another one is the champion."""
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
            f"Rejected {model}: it was compared with {'no champion' if expected is None else f'version {expected}'} "
            f"(expected_champion={expected}), but {'no version' if current is None else f'version {current}'} is "
            "champion now. Evaluate and validate it again, then deploy it."
        )
    return expected


def _evaluated_against(registry: Registry, model: ModelVersion) -> tuple[bool, int | None]:
    """Return whether the version has an evaluation, and the champion in it."""
    from airflow_provider_mlops.lifecycle.scoring.evaluation import Evaluation
    from airflow_provider_mlops.registry import models, tags

    uri = models.tags(registry, model).get(tags.EVALUATION_URI)
    if uri is None:
        return False, None
    try:
        evaluation = Evaluation.read(uri)
    except InvalidSpecError as error:
        log.warning(
            "Could not read the evaluation of %s, so it is not checked whether the champion has changed since then: %s",
            model,
            error,
        )
        return False, None
    return True, evaluation.champion_version
