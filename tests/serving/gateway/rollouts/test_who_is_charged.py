"""The table "Who is charged" of the docs, for every kind of rollout: what callers receive decides what counts."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from airflow_provider_mlops.serving.rollouts.rollout import RolloutPlan
from airflow_provider_mlops.serving.rollouts.store import RolloutStore
from tests.helpers.rollouts import bandit, canary
from tests.helpers.rollouts_in_gateway import BODY, HALF, Serve, begin, counted
from tests.helpers.serving import misbehaving_versions as versions
from tests.helpers.serving.live_gateway import LiveGateway
from tests.helpers.serving.misbehaving_versions import CANDIDATE, CHAMPION, row

REQUESTS = 20

TABLE: dict[str, tuple[int, str]] = {
    outcome.strip(): (int(status), charged.strip())
    for outcome, status, charged in re.findall(
        r"^\| (a .*|an .*) \| (\d{3}) \| (.*) \|$", Path("docs/guides/serving.md").read_text(), re.MULTILINE
    )
}

ROWS: dict[str, list[dict[str, Any]]] = {
    "a prediction": [row(20)],
    "a refusal of a body that does not match the champion's signature": [{"instances": [[1.0]]}],
    "a refusal of values that the champion refuses, too, such as an unknown category": [row(versions.BOTH_REFUSE)],
    "a refusal of values that the champion predicts": [row(versions.REFUSES)],
    "an error, because the model raised an exception": [row(versions.RAISES)],
    "an error, because the model tried to end the process": [row(versions.ENDS), row(versions.INTERRUPTS)],
    "an error, because the model did not return one valid prediction for each row": [
        row(versions.RETURNS_NONE),
        row(versions.RETURNS_DICTIONARIES),
        row(versions.RETURNS_NAN),
        row(versions.DROPS),
    ],
    "an error, because the prediction took longer than `--predict-seconds`": [row(versions.SLEEPS)],
}
ELSEWHERE = {
    "a refusal of a body that matches the champion's signature, but not the version's": (
        "test_gateway_rollout_failures.test_a_candidate_with_another_signature_is_to_blame_for_what_it_refuses"
    ),
    "an error, because too many requests were waiting for the version": "test_requests_that_wait_too_long_are_charged",
    "an error, because too many requests were in progress in the gateway": "test_a_full_gateway_charges_nobody",
    "an error, because the client has used up one of its limits": "test_a_client_over_its_limit_charges_nobody",
    "an error, because the prediction could not be logged": "test_full_disk",
}
"""Rows that need a gateway of their own, and their tests."""

STRATEGIES: dict[str, Callable[[], RolloutPlan]] = {
    "canary": lambda: canary(champion=CHAMPION, candidates=[CANDIDATE], strategy=HALF, hard_limits=None),
    "ab": lambda: canary(
        champion=CHAMPION,
        candidates=[CANDIDATE],
        strategy={"kind": "ab"},
        reward={"binary": True},
        gates=[{"kind": "metric"}],
        hard_limits=None,
    ),
    "bandit": lambda: bandit(champion=CHAMPION, candidates=[CANDIDATE], hard_limits=None),
    "shadow": lambda: canary(
        champion=CHAMPION,
        candidates=[CANDIDATE],
        strategy={"kind": "shadow", "timeout_seconds": 1},
        hard_limits=None,
    ),
}


@pytest.fixture
def misbehaving(storage: Path, tmp_path: Path) -> dict[str, str]:
    return versions.add_misbehaving_versions(storage, tmp_path)


def gateway(serve: Serve, environment: dict[str, str], *options: str) -> LiveGateway:
    process = serve("--allow-pickle", *options, **environment)
    with process.client() as client:
        client.activate("cancer", CHAMPION)
    return process


def test_the_table_is_complete() -> None:
    assert {charged.split(",")[0] for _, charged in TABLE.values()} == {"the version", "nobody"}
    assert TABLE.keys() == ROWS.keys() | ELSEWHERE.keys()


def ask(
    process: LiveGateway, body: dict[str, Any], requests: int = REQUESTS, pause: float = 0.0
) -> list[httpx.Response]:
    """Send the requests together, so that they meet in batches, or with a pause after each."""

    async def send() -> list[httpx.Response]:
        async with httpx.AsyncClient(timeout=30) as client:

            async def one(number: int) -> httpx.Response:
                await asyncio.sleep(number * pause)
                return await client.post(f"{process.url}/models/cancer/invocations", json=body)

            return await asyncio.gather(*map(one, range(requests)))

    return asyncio.run(send())


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_a_caller_receives_decides(
    serve: Serve, store: RolloutStore, misbehaving: dict[str, str], strategy: str
) -> None:
    process = gateway(serve, misbehaving, "--predict-seconds", "1")
    rollout = begin(store, process, STRATEGIES[strategy]())
    arm = "shadow" if strategy == "shadow" else "candidate"
    charged = answered = 0
    references: set[str] = set()
    for outcome, bodies in ROWS.items():
        status, whom = TABLE[outcome]
        for body in bodies:
            answers = ask(process, body)
            failures = [answer for answer in answers if answer.status_code != 200]
            if strategy == "shadow":
                # The caller gets the champion's answer, or its refusal; all that it predicts is copied.
                copied = len(answers) - len(failures)
                charged += copied if whom == "the version" else 0
                answered += copied if whom == "the version, as a success" else 0
                assert {answer.status_code for answer in failures} <= {422}
            else:
                assert {answer.status_code for answer in failures} <= {status}, outcome
                charged += len(failures) if whom == "the version" else 0
                answered += sum(answer.headers.get("x-model-version") == str(CANDIDATE) for answer in answers)
                assert whom == "the version, as a success" or failures, outcome
            assert not any("secret" in answer.text for answer in failures)
            references.update(*(re.findall(r"\(reference ([0-9a-f]{8})\)", answer.text) for answer in failures))

        def is_counted(charged: int = charged, answered: int = answered) -> bool:
            sums = counted(store, rollout, arm)
            return (sums.errors, sums.requests) == (charged, charged + answered)

        process.wait(is_counted, f"{outcome!r} is counted: {charged} of {charged + answered}")
        assert counted(store, rollout, "champion").errors == 0
    # A caller who reports the reference leads to the line.
    text = process.log.read_text()
    assert len(references) > 3 or strategy == "shadow"
    assert all(f"reference {name}" in text for name in references)
    # The reason is for those who read logs. Of copies it is in the prediction log only.
    files = [process.log] if strategy != "shadow" else list((process.storage / "write-ahead").rglob("*.jsonl"))
    assert any("secret: broken" in file.read_text() for file in files)


def test_requests_that_wait_too_long_are_charged(
    serve: Serve, store: RolloutStore, misbehaving: dict[str, str]
) -> None:
    process = gateway(serve, misbehaving, "--max-waiting", "1")
    rollout = begin(store, process, STRATEGIES["canary"]())
    # The champion answers each of them at once, and the candidate takes longer than the pause.
    answers = ask(process, row(versions.IS_SLOW), 24, pause=0.05)
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    candidate = sum(answer.headers.get("x-model-version") == str(CANDIDATE) for answer in answers)
    champion = sum(answer.headers.get("x-model-version") == str(CHAMPION) for answer in answers)
    assert candidate + champion + len(refused) == len(answers)

    def is_counted() -> bool:
        arms = [counted(store, rollout, arm) for arm in ("candidate", "champion")]
        return sum(sums.errors for sums in arms) == len(refused) and sum(sums.requests for sums in arms) == 24

    process.wait(is_counted, "they are counted")
    assert counted(store, rollout, "candidate").errors > counted(store, rollout, "champion").errors


def test_a_full_gateway_charges_nobody(serve: Serve, store: RolloutStore, misbehaving: dict[str, str]) -> None:
    process = gateway(serve, misbehaving, "--max-requests", "1")
    rollout = begin(store, process, STRATEGIES["canary"]())
    answers = ask(process, row(versions.IS_SLOW), 24)
    answered = [answer for answer in answers if answer.status_code == 200]
    assert {answer.status_code for answer in answers} == {200, 429}

    def total() -> int:
        return sum(counted(store, rollout, arm).requests for arm in ("candidate", "champion"))

    process.wait(lambda: total() == len(answered), "what was answered is counted")
    assert counted(store, rollout, "candidate").errors == counted(store, rollout, "champion").errors == 0


def test_a_client_over_its_limit_charges_nobody(serve: Serve, store: RolloutStore) -> None:
    process = serve("--client-requests", "2")
    rollout = begin(store, process, canary(strategy=HALF, hard_limits=None))
    answers = ask(process, BODY, 24)
    answered = [answer for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert answered
    assert len(answered) + len(refused) == 24
    assert {answer.headers["retry-after"] for answer in refused} == {"1"}
    assert "limit of 2 requests per second" in refused[0].text

    def total() -> int:
        return sum(counted(store, rollout, arm).requests for arm in ("candidate", "champion"))

    process.wait(lambda: total() == len(answered), "what was answered is counted")
    assert counted(store, rollout, "candidate").errors == counted(store, rollout, "champion").errors == 0
    metrics = httpx.get(f"{process.url}/metrics").text
    assert f'mlops_limited_requests_total{{client="",limit="requests"}} {float(len(refused))}' in metrics
