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


class Copies:
    """One copy for a shadow that answers, hangs, ends its thread or cannot be logged."""

    count = 1

    def __init__(self, seen: list[str], name: str = "answered", hang: threading.Event | None = None) -> None:
        self._seen, self._name, self._hang = seen, name, hang

    def run(self) -> Callable[[], None]:
        if self._hang is not None:
            self._hang.wait(60)
        if self._name == "crash":
            raise SystemExit("a model that ends the process")
        return self._log

    def _log(self) -> None:
        if self._name == "unlogged":
            raise OSError("the disk is full")
        self._seen.append(self._name)

    def failed(self, outcome: str, reason: str) -> None:
        self._seen.append(f"{outcome}: {reason}")

    def lost(self, outcome: str) -> None:
        self._seen.append(outcome)


def test_a_shadow_that_fails_or_hangs_harms_nobody() -> None:
    queue, seen, hang = ShadowQueue(2, 1.0), [], threading.Event()  # type: ignore[var-annotated]
    queue.offer(Copies(seen, "crash"))
    wait_until(lambda: seen == ["failed: SystemExit: a model that ends the process"])
    queue.offer(Copies(seen, "unlogged"))
    queue.offer(Copies(seen, "one"))
    wait_until(lambda: seen[1:] == ["one"])
    seen.clear()
    began = time.monotonic()
    queue.offer(Copies(seen, hang=hang))
    time.sleep(0.05)
    for _ in range(5):
        queue.offer(Copies(seen, "two"))
    assert time.monotonic() - began < 1
    assert seen == ["dropped"] * 3
    seen.clear()
    # The hanging one is given up, and those that wait get a thread of their own.
    time.sleep(1)
    assert not queue.check()
    wait_until(lambda: len(seen) == 3)
    assert sorted(seen) == ["timed_out: no answer within 1 seconds", "two", "two"]
    seen.clear()
    for _ in range(2):
        queue.offer(Copies(seen, hang=hang))
    wait_until(lambda: queue.check() and len(seen) == 1)
    # With the third that hangs, what waits is lost, and all that come after it.
    queue.offer(Copies(seen, "waits"))
    wait_until(lambda: not queue.check() and len(seen) == 3)
    queue.offer(Copies(seen, "late"))
    assert sorted(seen) == ["hung", "hung", *["timed_out: no answer within 1 seconds"] * 2]
    hang.set()
    time.sleep(0.1)
    queue.close()
    assert len(seen) == 4


def test_what_waits_when_a_rollout_ends_is_counted_and_what_is_at_work_is_watched() -> None:
    queue, seen, hang = ShadowQueue(2, 1.0), [], threading.Event()  # type: ignore[var-annotated]
    queue.offer(Copies(seen, hang=hang))
    wait_until(queue.check)
    queue.offer(Copies(seen))
    queue.close()
    assert seen == ["ended"]
    queue.offer(Copies(seen))
    wait_until(lambda: not queue.check())
    assert seen == ["ended", "ended", "timed_out: no answer within 1 seconds"]
    hang.set()
