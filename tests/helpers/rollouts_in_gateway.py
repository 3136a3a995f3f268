"""A gateway for the model `cancer`, its rollouts, and what is asked, logged and counted of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pandas as pd

from airflow_provider_mlops.serving.log import prediction_log
from airflow_provider_mlops.serving.rollouts.arm_statistics import ArmStatistics
from airflow_provider_mlops.serving.rollouts.rollout import Rollout, RolloutPlan
from airflow_provider_mlops.serving.rollouts.store import RolloutStore
from tests.helpers.rollouts import task
from tests.helpers.serving.live_gateway import LiveGateway
from tests.helpers.serving.served_registry import CANCER

BODY = {"instances": CANCER.head(1).to_numpy().tolist()}
HALF = {"kind": "canary", "steps": [0.5, 1.0]}

Serve = Callable[..., LiveGateway]


def copies(process: LiveGateway) -> Counter[str]:
    """The copies of requests for shadows by their outcome, as /metrics has them."""
    outcomes = re.findall(
        r'^mlops_shadow_copies_total\{.*outcome="(\w+)".*\} ([\d.]+)$',
        httpx.get(f"{process.url}/metrics").text,
        re.MULTILINE,
    )
    return Counter({outcome: int(float(count)) for outcome, count in outcomes if float(count)})


def begin(store: RolloutStore, process: LiveGateway, plan: RolloutPlan) -> Rollout:
    """Start a rollout and wait until the gateway follows it."""
    rollout = store.start("cancer", plan, task())
    with process.client() as client:
        process.wait(lambda: (client.model("cancer")["rollout"] or {}).get("id") == rollout.id, "it is followed")
    return rollout


def ask(process: LiveGateway, requests: int, **options: Any) -> list[httpx.Response]:
    with httpx.Client(timeout=30) as client:
        return [client.post(f"{process.url}/models/cancer/invocations", json=BODY, **options) for _ in range(requests)]


def ask_for(process: LiveGateway, body: Any) -> httpx.Response:
    return httpx.post(f"{process.url}/models/cancer/invocations", json=body, timeout=30)


def versions(answers: list[httpx.Response]) -> Counter[str]:
    assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers][:3]
    return Counter(answer.headers["x-model-version"] for answer in answers)


def counted(store: RolloutStore, rollout: Rollout, arm: str) -> ArmStatistics:
    """What the store has of an arm, over all steps."""
    by_step = [sums for (_, name), sums in store.statistics(rollout.id).items() if name == arm]
    return sum(by_step, ArmStatistics())


def log(storage: Path) -> pd.DataFrame:
    return prediction_log.read(str(storage), "cancer").execute()


def now() -> datetime:
    return datetime.now(UTC)
