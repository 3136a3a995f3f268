"""The level 1 work as a DAG of `@task` functions that call the libraries directly."""

from __future__ import annotations

import os

from airflow.sdk import dag, task

TRACKING = os.environ.get("BENCHMARK_TRACKING_URI", "")
GATEWAY = os.environ.get("BENCHMARK_GATEWAY_URL", "")
KEY = os.environ.get("BENCHMARK_GATEWAY_KEY", "")
STORAGE = os.environ.get("BENCHMARK_STORAGE", "")
MODEL = "by_hand_dag"


@dag(schedule=None, default_args={"retries": 2})
def by_hand_level_1():
    @task
    def extract(run_id: str | None = None) -> str:
        from benchmarks import by_hand

        folder = str(run_id).replace(":", "_")
        return by_hand.extract(f"{STORAGE}/by_hand/{folder}")

    @task
    def analyze(path: str) -> str:
        from benchmarks import by_hand

        return by_hand.analyze(path, TRACKING)

    @task
    def validate_data(path: str, profile: str) -> str:
        from benchmarks import by_hand

        return by_hand.validate_data(path, profile, TRACKING)

    @task
    def prepare(path: str) -> list[str]:
        from benchmarks import by_hand

        return by_hand.prepare(path)

    @task
    def train(parts: list[str], profile: str) -> str:
        from benchmarks import by_hand

        return by_hand.train(parts[0], parts[1], profile, TRACKING, MODEL)

    @task
    def evaluate(parts: list[str], version: str) -> str:
        from benchmarks import by_hand

        return by_hand.evaluate(parts[2], TRACKING, MODEL, version)

    @task
    def validate(evaluation: str, version: str) -> str:
        from benchmarks import by_hand

        return by_hand.validate(evaluation, TRACKING, MODEL, version)

    @task
    def deploy(version: str) -> str:
        from benchmarks import by_hand

        return by_hand.deploy(TRACKING, GATEWAY, KEY, MODEL, version)

    @task
    def replay(parts: list[str]) -> int:
        from benchmarks import by_hand

        return by_hand.replay(parts[2], GATEWAY, KEY, MODEL)

    @task
    def monitor(profile: str, parts: list[str]) -> int:
        from benchmarks import by_hand

        return by_hand.monitor(STORAGE, profile, parts[0], parts[2], TRACKING, MODEL)

    path = extract()
    profile = analyze(path)
    parts = prepare(validate_data(path, profile))
    version = train(parts, profile)
    deployed = deploy(validate(evaluate(parts, version), version))
    replayed = replay(parts)
    deployed >> replayed >> monitor(profile, parts)


by_hand_level_1()
