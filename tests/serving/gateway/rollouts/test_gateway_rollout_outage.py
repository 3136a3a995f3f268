"""The rollout store away from a running gateway: routes go on, and so do the limits."""

from __future__ import annotations

import re
import sqlite3
import time
from pathlib import Path

import httpx

from airflow_provider_mlops.serving.rollouts import transitions
from airflow_provider_mlops.serving.rollouts.store import RolloutStore
from tests.helpers.rollouts import canary
from tests.helpers.rollouts_in_gateway import HALF, Serve, ask, begin, copies, counted, now, versions
from tests.helpers.serving.broken_versions import LARGE
from tests.helpers.serving.live_gateway import LiveGateway


def failures(process: LiveGateway, work: str) -> float:
    """Failed attempts to use the rollout store, as /metrics has them."""
    text = httpx.get(f"{process.url}/metrics").text
    found = re.search(rf'^mlops_rollout_store_failures_total\{{work="{work}"\}} ([\d.]+)$', text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_tables_that_are_gone_are_a_store_that_is_away(serve: Serve, store: RolloutStore, storage: Path) -> None:
    process = serve()
    rollout = begin(store, process, canary(strategy=HALF))
    database = sqlite3.connect(storage / "rollouts.db", timeout=10)
    for table in ("changes", "cursors"):
        database.execute(f"ALTER TABLE {table} RENAME TO {table}_aside")
    answers = versions(ask(process, 60))
    process.wait(lambda: failures(process, "follow") > 3 and failures(process, "ingest") > 3, "it is noticed")
    answers += versions(ask(process, 60))
    assert set(answers) == {"1", "2"}
    for table in ("changes", "cursors"):
        database.execute(f"ALTER TABLE {table}_aside RENAME TO {table}")
    database.close()
    process.wait(lambda: counted(store, rollout, "candidate").requests == answers["2"], "all is counted")
    store.change(rollout.id, lambda seen: transitions.ended(seen.plan, seen.state, now(), "ada", "enough seen"))
    process.wait(lambda: versions(ask(process, 20)) == {"1": 20}, "it is followed again")
    text = process.log.read_text()
    for sentence in (
        "Keeping the last known routes",
        "The rollout store is available again",
        "Could not copy the evidence of rollouts to the rollout store: The rollout store",
        "The evidence of rollouts is copied to the rollout store again",
    ):
        assert text.count(sentence) == 1, sentence
    assert "Traceback" not in text


def test_a_shadow_that_fails_while_the_store_is_away_gets_no_more_copies(
    serve: Serve, store: RolloutStore, broken: dict[str, str], storage: Path
) -> None:
    process = serve("--allow-pickle", **broken)
    limits = {"min_requests": 5}
    rollout = begin(store, process, canary(candidates=[6], strategy={"kind": "shadow"}, hard_limits=limits))
    with sqlite3.connect(storage / "rollouts.db", timeout=10) as database:
        database.execute("ALTER TABLE changes RENAME TO aside")
    process.wait(lambda: failures(process, "follow") > 0, "the store is unavailable")
    with httpx.Client(timeout=2) as client:
        for _ in range(10):
            assert client.post(f"{process.url}/models/cancer/invocations", json=LARGE).status_code == 200
        process.wait(lambda: "Rolled cancer back to version 1" in process.log.read_text(), "the limit is enforced")
        # Those that were under way then are through after a moment.
        time.sleep(0.5)
        before = copies(process)
        for _ in range(10):
            assert client.post(f"{process.url}/models/cancer/invocations", json=LARGE).status_code == 200
        time.sleep(0.5)
    assert copies(process) == before
    with sqlite3.connect(storage / "rollouts.db", timeout=10) as database:
        database.execute("ALTER TABLE aside RENAME TO changes")
    process.wait(lambda: store.get(rollout.id).state.status == "rolled_back", "the store is told")
    assert "requests to shadow failed within 60 s in this gateway" in store.get(rollout.id).state.reason
