"""The start of a rollout: every version is loaded and verified before any request can reach it."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from pydantic import ValidationError

from airflow_provider_mlops.data.names import must_be_a_column, pluralize
from airflow_provider_mlops.data.times import format_duration
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.deploy.deployment import connect_gateway
from airflow_provider_mlops.lifecycle.deploy.expected_champion import expected_version
from airflow_provider_mlops.lifecycle.step import invalid
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.serving.rollouts.plan.config import RolloutConfig
from airflow_provider_mlops.serving.rollouts.rollout import Rollout, RolloutPlan

if TYPE_CHECKING:
    from airflow_provider_mlops.lifecycle.rollout.spec import RolloutSpec
    from airflow_provider_mlops.registry.audit import AuditEntry
    from airflow_provider_mlops.registry.connection import Registry
    from airflow_provider_mlops.registry.model_version import ModelVersion
    from airflow_provider_mlops.serving.rollouts.store import RolloutStore

log = logging.getLogger(__name__)


def begin(spec: RolloutSpec, workspace: Workspace, store: RolloutStore) -> Rollout:
    """Load and verify the versions, and start the rollout.

    Raises the same errors as `rollout`; in that case, no rollout has started.
    """
    from airflow_provider_mlops.lifecycle.deploy.check import expected_predictions, verify
    from airflow_provider_mlops.lifecycle.rollout.sample_size import sample_sizes
    from airflow_provider_mlops.registry import models
    from airflow_provider_mlops.registry.aliases import settle_aliases

    registry = workspace.registry()
    # From here on, an alias that points to another version was moved by hand.
    settle_aliases(registry, spec.model.name)
    candidates = [models.get(registry, model.name, model.version) for model in (spec.model, *spec.candidates)]
    champion = expected_version(registry, candidates[0], spec)
    if champion is None:
        raise InvalidSpecError(
            "model",
            str(spec.model),
            "a rollout compares the version with the champion, and the model has no champion. Deploy the first version "
            "with DeployModelOperator",
        )
    if champion in {model.version for model in candidates}:
        # Without an audit entry, only an alias that was moved by hand can say so; see `already_champion`.
        raise InvalidSpecError(
            "model",
            str(spec.model),
            f"version {champion} of {spec.model.name} is already the champion, so it cannot be compared with the "
            "champion. If someone moved the alias champion by hand, move it back, or roll out another version",
        )
    plan = _plan(spec, champion)
    _check_columns(plan, models.get(registry, spec.model.name, champion), registry)
    with connect_gateway(workspace, spec.verify_timeout) as gateway:
        for model in candidates:
            started = time.monotonic()
            gateway.load(model.name, model.version, timeout=spec.verify_timeout)
            expected = expected_predictions(registry, model, allow_pickle=spec.allow_pickle)
            verify(gateway, model, expected, version=model.version)
            log.info(
                "Loaded %s into the gateway at %s and verified it on %s in %.1f s",
                model,
                workspace.gateway_url,
                pluralize(expected.rows, "row"),
                time.monotonic() - started,
            )
    sizes = sample_sizes(plan)
    if sizes is not None:
        log.info(
            "Sample size of the A/B test: %s rewards of the candidate and %s of the champion",
            *map("{:,}".format, sizes),
        )
    if plan.cohort is not None:
        log.info(
            "The first step is for the cohort: requests in which %s get version %d, all others the champion",
            plan.cohort.text,
            plan.candidates[0],
        )
    rollout = store.start(spec.model.name, plan, workspace.task)
    log.info("%s", _unattended(plan))
    return rollout


def _unattended(plan: RolloutPlan) -> str:
    canceled = "rolled back" if plan.on_cancel == "roll_back" else "kept at its weights"
    if plan.unattended_timeout is None:
        absent = "If the task no longer checks the rollout, the weights stay (unattended_timeout is None)"
    else:
        absent = (
            f"If the task does not check the rollout for {format_duration(plan.unattended_timeout)} "
            "(unattended_timeout), the gateways roll it back"
        )
    return f"{absent}. If the task is canceled, the rollout is {canceled} (on_cancel={plan.on_cancel!r})"


def _check_columns(plan: RolloutPlan, champion: ModelVersion, registry: Registry) -> None:
    """Raise InvalidSpecError if the cohort or the sticky key is a column that the champion's signature does not have.

    The gateway reads requests by the champion's signature, so no request could ever match.
    """
    from airflow_provider_mlops.registry import models
    from airflow_provider_mlops.serving.rows.input_schema import InputSchema

    for name, place in (("cohort", plan.cohort), ("sticky", plan.sticky)):
        if place is not None and place.source == "field":
            columns = InputSchema.of(models.signature(registry, champion)).names
            if place.name not in columns:
                raise InvalidSpecError(f"{name}.name", place.name, must_be_a_column(place.name, columns, str(champion)))


def already_champion(spec: RolloutSpec, workspace: Workspace) -> AuditEntry | None:
    """Return the audit entry that made the version the champion; None if it is not the champion.

    An earlier try, or a deployment, may have made it the champion.
    """
    from airflow_provider_mlops.registry import audit
    from airflow_provider_mlops.registry.aliases import settle_aliases

    registry = workspace.registry()
    entry = audit.last_move(registry, spec.model.name)
    if entry is None or entry.to_version != spec.model.version:
        return None
    settle_aliases(registry, spec.model.name)
    log.info("Nothing to roll out: %s is already the champion (audit entry %d)", spec.model, entry.sequence)
    return entry


def _plan(spec: RolloutSpec, champion: int) -> RolloutPlan:
    versions = (spec.model.version, *(candidate.version for candidate in spec.candidates))
    config = {name: getattr(spec, name) for name in RolloutConfig.model_fields}
    try:
        return RolloutPlan(champion=champion, candidates=versions, **config)
    except ValidationError as error:
        raise invalid(error.errors(include_url=False)[0], RolloutPlan) from error
