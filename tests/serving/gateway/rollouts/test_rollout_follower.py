"""How long a gateway that looks for the champion alias seldom goes on with what was promoted."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.settings import RegistrySettings
from airflow_provider_mlops.serving.gateway.http.metrics import Metrics
from airflow_provider_mlops.serving.gateway.rollouts.rollout_follower import RolloutFollower
from airflow_provider_mlops.serving.gateway.settings import Settings
from airflow_provider_mlops.serving.log.write_ahead import WriteAhead
from airflow_provider_mlops.serving.models.served_models import ServedModels
from airflow_provider_mlops.serving.rollouts import transitions
from airflow_provider_mlops.serving.rollouts.router import Router
from airflow_provider_mlops.serving.rollouts.store import RolloutStore, default_url
from tests.helpers.rollouts import canary, task

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_old_champion_does_not_come_back_before_the_alias_is_looked_for(tmp_path: Path) -> None:
    seldom = 30.0
    log = WriteAhead(str(tmp_path / "write-ahead"))
    models = ServedModels(Registry(RegistrySettings(str(tmp_path))))
    follower = RolloutFollower(Settings(str(tmp_path), poll_seconds=seldom), models, log, Metrics())
    linger = follower.linger_seconds
    assert linger > seldom
    log.close()

    moments = [0.0]
    store = RolloutStore(default_url(str(tmp_path)))
    routing = Router(store, by="gateway", linger_seconds=linger, clock=lambda: moments[-1])
    rollout = store.start("churn", canary(), task(), NOW)
    routing.poll()
    store.change(rollout.id, lambda seen: transitions.promoted(seen.plan, seen.state, 2, NOW, "task", "better"))
    store.change(rollout.id, lambda seen: transitions.settled(seen.state, NOW, task()))
    for moment in (0.0, seldom):
        moments.append(moment)
        routing.poll()
        route = routing.route("churn")
        assert route is not None
        assert route.choose().version == 2
    moments.append(linger)
    routing.poll()
    assert routing.route("churn") is None
    store.close()
