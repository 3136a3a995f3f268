"""The beginning of a rollout: every version is loaded and answers as it should before any request can reach it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from pydantic import ValidationError

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.deploy.deployment import connect_gateway
from airflow_provider_mlops.lifecycle.deploy.expected_champion import expected_version
from airflow_provider_mlops.lifecycle.step import invalid
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.serving.rollouts.config import RolloutConfig
from airflow_provider_mlops.serving.rollouts.rollout import Rollout, RolloutPlan

if TYPE_CHECKING:
    from airflow_provider_mlops.lifecycle.rollout.spec import RolloutSpec
    from airflow_provider_mlops.registry.audit import AuditEntry
    from airflow_provider_mlops.serving.rollouts.store import RolloutStore

log = logging.getLogger(__name__)


def begin(spec: RolloutSpec, workspace: Workspace, store: RolloutStore) -> Rollout:
    """Load and verify the versions, and start. Raises as `rollout` does; then nothing has begun."""
    from airflow_provider_mlops.lifecycle.deploy.check import expected_answer, verify
    from airflow_provider_mlops.lifecycle.rollout.sample_size import planned_rewards
    from airflow_provider_mlops.registry import models
    from airflow_provider_mlops.registry.aliases import settle_aliases

    registry = workspace.registry()
    # From here on, an alias that stands elsewhere was moved by hand.
    settle_aliases(registry, spec.model.name)
    wanted = [spec.model, *spec.candidates]
    candidates = [models.get(registry, model.name, model.version) for model in wanted]
    champion = expected_version(registry, candidates[0], spec)
    if champion is None:
        raise InvalidSpecError(
            "model", str(spec.model), "the model has no champion to roll out beside: deploy a first version directly"
        )
    plan = _plan(spec, champion)
    with connect_gateway(workspace, spec.verify_timeout) as gateway:
        for model in candidates:
            log.info("Loading %s into the gateway at %s", model, workspace.gateway_url)
            gateway.load(model.name, model.version, timeout=spec.verify_timeout)
            expected = expected_answer(registry, model, allow_pickle=spec.allow_pickle)
            verify(gateway, model, expected, version=model.version)
            log.info("It answers the %d rows of the input example as the packaged model does", expected.rows)
    sizes = planned_rewards(plan)
    if sizes is not None:
        log.info("The test is planned for %d rewards of the candidate and %d of the champion", *sizes)
    return store.start(spec.model.name, plan, workspace.task)


def champion_already(spec: RolloutSpec, workspace: Workspace) -> AuditEntry | None:
    """The audit entry by which the version is champion already: by an earlier try, or by whoever deployed it."""
    from airflow_provider_mlops.registry import audit
    from airflow_provider_mlops.registry.aliases import settle_aliases

    registry = workspace.registry()
    moved = audit.last_move(registry, spec.model.name)
    if moved is None or moved.to_version != spec.model.version:
        return None
    settle_aliases(registry, spec.model.name)
    log.info("%s is champion already (audit entry %d): there is nothing to roll out", spec.model, moved.sequence)
    return moved


def _plan(spec: RolloutSpec, champion: int) -> RolloutPlan:
    versions = (spec.model.version, *(candidate.version for candidate in spec.candidates))
    terms = {name: getattr(spec, name) for name in RolloutConfig.model_fields}
    try:
        return RolloutPlan(champion=champion, candidates=versions, **terms)
    except ValidationError as error:
        raise invalid(error.errors(include_url=False)[0], RolloutPlan) from error
