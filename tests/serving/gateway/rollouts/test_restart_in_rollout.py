"""A worker that starts during a rollout answers no request outside of it."""

from __future__ import annotations

import os
import signal
from collections import Counter

import httpx

from airflow_provider_mlops.serving.rollouts.store import RolloutStore
from tests.helpers.rollouts import canary
from tests.helpers.rollouts_in_gateway import BODY, Serve, begin


def test_a_replaced_worker_waits_for_the_versions_of_its_rollout(serve: Serve, store: RolloutStore) -> None:
    process = serve()
    strategy = {"kind": "canary", "steps": [1 - 1e-9, 1.0]}
    begin(store, process, canary(candidates=[2], strategy=strategy, hard_limits=None))
    (worker,) = process.workers()
    os.kill(worker, signal.SIGKILL)
    url, answers, waited = f"{process.url}/models/cancer/invocations", Counter[str](), 0

    def asked() -> bool:
        nonlocal waited
        try:
            answer = httpx.post(url, json=BODY, timeout=30)
        except httpx.TransportError:
            return False
        assert answer.status_code in (200, 503), answer.text
        if answer.status_code == 503:
            waited += 1
            return False
        answers[answer.headers["x-model-version"]] += 1
        return answers.total() == 100

    process.wait(asked, "100 requests are answered")
    assert waited > 0
    assert answers == {"2": 100}
