"""Rollouts that another release of the package has written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import update

from airflow_provider_mlops.serving.log import prediction_id
from airflow_provider_mlops.serving.log.write_ahead import WriteAhead
from airflow_provider_mlops.serving.rollouts.evidence.ingestion import Ingestion
from airflow_provider_mlops.serving.rollouts.rollout_context import answer_context
from airflow_provider_mlops.serving.rollouts.router import Router
from airflow_provider_mlops.serving.rollouts.store import RolloutStore, default_url
from airflow_provider_mlops.serving.rollouts.tables import ROLLOUTS
from tests.helpers.rollouts import canary, task


def test_a_rollout_that_cannot_be_read_keeps_nobody_from_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = RolloutStore(default_url(str(tmp_path)))
    strange = store.start("churn", canary(), task())
    plan = {**json.loads(strange.plan.model_dump_json()), "moon_phase": "full"}
    with store.engine.writing() as connection:
        connection.execute(update(ROLLOUTS).where(ROLLOUTS.c.id == strange.id).values(plan=json.dumps(plan)))
    known = store.start("prices", canary(), task("run-2"))
    router = Router(store, by="gateway")
    router.poll()
    assert router.error is None
    assert router.route("prices") is not None
    assert router.route("churn") is None
    assert f"This gateway does not follow rollout {strange.id} of churn" in caplog.text
    assert "moon_phase" in caplog.text
    log = WriteAhead(str(tmp_path / "write-ahead"))
    for rollout in (strange, known):
        log.failure(
            prediction_id.new(),
            model=rollout.model,
            version=2,
            arm="candidate",
            latency_ms=1.0,
            error="KeyError",
            rollout_context=answer_context(rollout.id, 0),
        )
    log.feedback([(prediction_id.new(), None, 1.0)])
    Ingestion(store, log.root, log).run()
    assert store.statistics(known.id)[0, "candidate"].errors == 1
    log.close()
    store.close()
