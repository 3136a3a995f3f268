"""The queue of copies for a shadow: one that fails or hangs harms nobody."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from airflow_provider_mlops.serving.rollouts.shadow_queue import ShadowQueue


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_shadow_that_fails_or_hangs_harms_nobody() -> None:
    queue, answers, failures = ShadowQueue(2, 0.2), [], []  # type: ignore[var-annotated]
    hang = threading.Event()

    def answered(name: str) -> Callable[[], Callable[[], None]]:
        return lambda: lambda: answers.append(name)

    def crash() -> Callable[[], None]:
        raise SystemExit("a model that ends the process")

    def hangs() -> Callable[[], None]:
        hang.wait(60)
        return lambda: answers.append("too late")

    def broken() -> Callable[[], None]:
        def log() -> None:
            raise OSError("the disk is full")

        return log

    assert queue.offer(crash, failures.append)
    wait_until(lambda: failures == ["SystemExit: a model that ends the process"])
    assert queue.offer(broken, failures.append)
    assert queue.offer(answered("one"), failures.append)
    wait_until(lambda: answers == ["one"])
    began = time.monotonic()
    taken = [queue.offer(hangs, failures.append)]
    time.sleep(0.05)
    taken += [queue.offer(answered("two"), failures.append) for _ in range(5)]
    assert time.monotonic() - began < 0.19
    assert taken == [True, True, True, False, False, False]
    assert queue.dropped == 3
    # The hanging one is given up, and those that wait get a thread of their own.
    time.sleep(0.2)
    queue.check()
    wait_until(lambda: answers == ["one", "two", "two"])
    assert failures[1:] == ["no answer within 0.2 seconds"]
    for _ in range(2):
        assert queue.offer(hangs, failures.append)
        time.sleep(0.3)
        queue.check()
    assert not queue.offer(answered("three"), failures.append)
    assert len(failures) == 4
    hang.set()
    time.sleep(0.1)
    assert answers == ["one", "two", "two"]
    queue.close()
