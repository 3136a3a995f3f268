"""Whatever a candidate returns, callers get their own right answer or an error, and the candidate is charged for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.settings import RegistrySettings
from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan
from airflow_provider_mlops.serving.rollouts.store import RolloutStore
from tests.helpers.rollouts import canary
from tests.helpers.rollouts_in_gateway import HALF, Serve, begin, counted, log
from tests.helpers.serving import hostile_model
from tests.helpers.serving.hostile_model import Hostile
from tests.helpers.serving.served_registry import CANCER, register_pickled

PAIR = {"champion": 6, "candidates": [7], "hard_limits": None}
PLANS: dict[str, Callable[[], RolloutPlan]] = {
    "canary": lambda: canary(**PAIR, strategy=HALF),
    "ab": lambda: canary(
        **PAIR, strategy={"kind": "ab"}, reward={"binary": True}, gates=[{"kind": "metric"}], sticky={"name": "X-User"}
    ),
    "shadow": lambda: canary(**PAIR, strategy={"kind": "shadow", "max_waiting": 10_000}),
}


def row(value: float, code: float) -> list[float]:
    return [value, code, *CANCER.iloc[0, 2:].tolist()]


@pytest.mark.parametrize("strategy", PLANS)
def test_each_caller_gets_the_own_answer_or_an_error(
    serve: Serve, store: RolloutStore, storage: Path, tmp_path: Path, strategy: str
) -> None:
    registry = Registry(RegistrySettings(str(storage)))
    for number, estimator in ((6, Hostile(is_champion=True)), (7, Hostile())):
        saved = tmp_path / str(number)
        saved.mkdir()
        assert register_pickled(registry, "cancer", estimator, saved).version == number
    process = serve("--allow-pickle", PYTHONPATH=str(Path.cwd()))
    with process.client() as client:
        client.activate("cancer", 6)
    rollout = begin(store, process, PLANS[strategy]())

    async def send() -> list[tuple[float, str, httpx.Response]]:
        limits = httpx.Limits(max_connections=24)
        async with httpx.AsyncClient(timeout=120, limits=limits) as client:

            async def one(value: float, name: str, code: float) -> tuple[float, str, httpx.Response]:
                body: dict[str, Any] = {"instances": [row(value, code)]}
                headers = {"X-User": f"user-{value}"}
                url = f"{process.url}/models/cancer/invocations"
                return value, name, await client.post(url, json=body, headers=headers)

            numbers = iter(range(1, 10_000))
            requests = []
            for name, code in hostile_model.CODES.items():
                requests += [one(float(next(numbers)), name, code) for _ in range(4)]
                requests += [one(float(next(numbers)), "ordinary", 0.0) for _ in range(2)]
            return await asyncio.gather(*requests)

    answers = asyncio.run(send())
    failures = 0
    for value, name, answer in answers:
        if answer.status_code == 200:
            # Never the answer to somebody else, and never one that is not a number.
            assert answer.json()["predictions"] == [value], name
            by_candidate = answer.headers["x-model-version"] == "7"
            assert not by_candidate or name == "ordinary" or name in hostile_model.RIGHT, name
        else:
            failures += 1
            assert answer.status_code == 500, (name, answer.text)
            assert name in hostile_model.WRONG
    wrong = 4 * len(hostile_model.WRONG)
    assert failures == 0 if strategy == "shadow" else 0 < failures < wrong
    charged = wrong if strategy == "shadow" else failures
    arm = "shadow" if strategy == "shadow" else "candidate"
    process.wait(lambda: counted(store, rollout, arm).errors == charged, f"{charged} failures are charged", 120)
    assert counted(store, rollout, "champion").errors == 0
    logged = log(storage)
    assert len(logged)
    assert (logged["output"] == logged[f"feature_{CANCER.columns[0]}"]).all()
