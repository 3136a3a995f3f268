"""What the requests before make likely is known before each request, whatever happens to the log and the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from airflow_provider_mlops.errors import BackendUnavailableError
from airflow_provider_mlops.serving.rollouts.arm_statistics import ArmStatistics
from airflow_provider_mlops.serving.rollouts.evidence import ingestion as ingestion_module
from airflow_provider_mlops.serving.rollouts.evidence.evidence_delta import EvidenceDelta
from airflow_provider_mlops.serving.rollouts.evidence.expected_failures import LEVELS, ExpectedFailures
from airflow_provider_mlops.serving.rollouts.evidence.ingestion import Ingestion
from airflow_provider_mlops.serving.rollouts.store import RolloutStore, default_url
from benchmarks.rollouts.canary_outages import levels_of
from tests.helpers.logged_traffic import Traffic, opened, started
from tests.helpers.rollouts import bandit, canary


def failure(arm: str = "candidate", rollout: str = "") -> dict[str, Any]:
    return {"failure": "1" * 32, "rollout": rollout, "step": 0, "arm": arm}


def levels(delta: EvidenceDelta) -> dict[str, dict[int, tuple[int, int]]]:
    return {arm: dict(found.expected_errors) for (_, _, arm), found in delta.statistics().items()}


def test_the_outcome_of_a_request_does_not_change_what_was_expected_of_it() -> None:
    delta = EvidenceDelta(lambda rollout: canary())
    delta.add(failure())
    assert levels(delta) == {"candidate": {}}
    for _ in range(3):
        delta.add(failure("champion"))
    # 1 - (31/32)**2 is above 5 %.
    assert levels(delta) == {"candidate": {}, "champion": {1: (2, 2)}}
    assert delta.expected.level("another rollout") == 0


def test_cohorts_and_rollouts_without_known_shares_expect_nothing() -> None:
    for plan, arm in ((canary(), "cohort"), (bandit(), "candidate"), (canary(sticky={"name": "X-User"}), "candidate")):
        delta = EvidenceDelta(lambda rollout, plan=plan: plan)
        for _ in range(50):
            delta.add({**failure(arm), "key": "7ff"})
        assert levels(delta) == {arm: {}}
        assert delta.expected.level("") == 0


def test_the_benchmark_expects_what_the_gateway_does() -> None:
    failed = np.random.default_rng(1).random((5, 400)) < np.repeat([0.02, 1.0, 0.3, 0.0], 100)
    simulated, _ = levels_of(failed, np.zeros(5))
    for row, outcomes in zip(simulated, failed, strict=True):
        expected = ExpectedFailures()
        for level, outcome in zip(row.tolist(), outcomes.tolist(), strict=True):
            assert expected.level("") == level
            expected.add("", outcome)
    assert simulated.max() == LEVELS


def logged(log: Any, rollout: Any) -> Traffic:
    """Answers, then an outage of both versions, then answers."""
    traffic = Traffic(log, rollout)
    for number in range(150):
        arm = "candidate" if number % 3 == 0 else "champion"
        if 50 <= number < 100:
            traffic.fail(arm)
        else:
            traffic.answer(arm)
    return traffic


@pytest.fixture
def once(tmp_path: Path) -> dict[tuple[int, str], ArmStatistics]:
    """Statistics of `logged`, ingested at once."""
    store = RolloutStore(default_url(str(tmp_path / "once")))
    log = opened(tmp_path / "once")
    traffic = logged(log, started(store, canary()))
    Ingestion(store, log.root, log).run()
    found = store.statistics(traffic.rollout.id)
    store.close()
    assert sum(requests for arm in found.values() for requests, _ in arm.expected_errors.values()) > 60
    return found


def test_it_is_the_same_however_the_log_is_cut(tmp_path: Path, once: dict[tuple[int, str], ArmStatistics]) -> None:
    store = RolloutStore(default_url(str(tmp_path)))
    log = opened(tmp_path, segment_bytes=1000)
    traffic = logged(log, started(store, canary()))
    assert Ingestion(store, log.root, log).run() > 20
    assert store.statistics(traffic.rollout.id) == once
    store.close()


def test_a_stretch_that_is_read_again_expects_the_same(
    tmp_path: Path, once: dict[tuple[int, str], ArmStatistics], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RolloutStore(default_url(str(tmp_path)))
    log = opened(tmp_path)
    traffic, ingestion = logged(log, started(store, canary())), Ingestion(store, log.root, log)
    write = ingestion_module.write_evidence

    def unavailable(*arguments: Any) -> Any:
        raise BackendUnavailableError("The rollout store", "here", "no response")

    monkeypatch.setattr(ingestion_module, "write_evidence", unavailable)
    for _ in range(3):
        with pytest.raises(BackendUnavailableError):
            ingestion.run()
    monkeypatch.setattr(ingestion_module, "write_evidence", write)
    ingestion.run()
    assert store.statistics(traffic.rollout.id) == once
    store.close()


def test_lines_that_are_committed_one_by_one_expect_the_same(
    tmp_path: Path, once: dict[tuple[int, str], ArmStatistics], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RolloutStore(default_url(str(tmp_path)))
    log = opened(tmp_path)
    traffic, ingestion = logged(log, started(store, canary())), Ingestion(store, log.root, log)
    write, refused = ingestion_module.write_evidence, []

    def refuses_stretches(*arguments: Any) -> Any:
        if not refused:
            refused.append(True)
            raise ValueError("the database does not take it")
        return write(*arguments)

    monkeypatch.setattr(ingestion_module, "write_evidence", refuses_stretches)
    ingestion.run()
    assert refused
    assert store.statistics(traffic.rollout.id) == once
    store.close()
