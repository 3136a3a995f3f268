"""Which version is blamed when a process ends, and which is not."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from airflow_provider_mlops.registry.model_version import ModelVersion
from airflow_provider_mlops.serving.gateway.workers import deaths
from airflow_provider_mlops.serving.gateway.workers.child import Child
from airflow_provider_mlops.serving.gateway.workers.deaths import Death
from airflow_provider_mlops.serving.gateway.workers.link import SupervisorLink
from airflow_provider_mlops.serving.models import activity
from airflow_provider_mlops.serving.models.crash_list import MAX_CRASHES, CrashList
from tests.helpers.serving.live_gateway import is_alive

FIRST, SECOND = (ModelVersion(name="churn", version=number, run_id=f"run {number}") for number in (1, 2))
FAULT: Callable[[], object] = partial(ctypes.string_at, 0)
WAIT: Callable[[], object] = partial(time.sleep, 60)


def inside(version: ModelVersion, action: Callable[[], object]) -> None:
    cells, place = activity.slot()
    cells[place] = 2 * activity.register(version)
    action()


def in_threads(calls: list[tuple[ModelVersion | None, Callable[[], object]]], link: SupervisorLink) -> None:
    """Make calls at the same time; the last one when all others have begun. A call without a version is in none."""
    for version, call in calls[:-1]:
        target = call if version is None else partial(inside, version, call)
        threading.Thread(target=target, daemon=True).start()
    time.sleep(0.2)
    version, call = calls[-1]
    if version is None:
        call()
    else:
        inside(version, call)


def death(*calls: tuple[ModelVersion | None, Callable[[], object]], memory: bool = False) -> Death:
    child = Child(partial(in_threads, list(calls)), "test")
    child.process.join(60)
    child.messages()
    exit_code = child.process.exitcode
    assert exit_code is not None
    try:
        return deaths.examine(child, exit_code, ran_out_of_memory=memory)
    finally:
        child.close()


def kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def stop() -> None:
    activity.stopping()
    os._exit(0)


@pytest.mark.parametrize(("call", "cause"), [(os.abort, "SIGABRT"), (FAULT, "SIGSEGV")])
def test_the_version_of_the_thread_that_crashed_is_to_blame(call: Callable[[], object], cause: str) -> None:
    found = death((FIRST, WAIT), (SECOND, call))
    assert (found.cause, found.blame, found.involved) == (f"was ended by {cause}", "certain", ((SECOND, "predicting"),))
    assert "in inside" in found.stack
    assert found.describe() == f"was ended by {cause} while predicting with churn version 2"


def test_the_crashed_thread_is_known_even_if_a_library_has_taken_the_signal_before() -> None:
    libc = ctypes.CDLL(None)
    libc.signal.argtypes, libc.signal.restype = [ctypes.c_int, ctypes.c_void_p], ctypes.c_void_p
    # Ignored, so that the instruction that faults would be repeated forever.
    before = libc.signal(signal.SIGSEGV, ctypes.c_void_p(1))
    try:
        found = death((FIRST, WAIT), (SECOND, FAULT))
    finally:
        libc.signal(signal.SIGSEGV, before)
    assert (found.blame, found.involved) == ("certain", ((SECOND, "predicting"),))


def test_a_crash_outside_of_all_versions_blames_none() -> None:
    found = death((FIRST, WAIT), (None, os.abort))
    assert (found.blame, found.involved) == ("nobody", ())


def test_a_process_that_a_version_ended_without_a_signal_blames_it() -> None:
    found = death((FIRST, partial(os._exit, 3)))
    assert (found.cause, found.blame) == ("exited with code 3", "certain")


def test_several_versions_that_may_have_ended_it_are_suspected() -> None:
    found = death((FIRST, WAIT), (SECOND, partial(os._exit, 3)))
    assert (found.blame, len(found.involved)) == ("suspected", 2)


@pytest.mark.parametrize(("memory", "blame"), [(False, "nobody"), (True, "suspected")])
def test_sigkill_is_a_versions_doing_only_if_memory_ran_out(memory: bool, blame: str) -> None:
    assert death((FIRST, kill_itself), memory=memory).blame == blame


def test_an_exception_of_the_gateway_itself_blames_no_version_in_another_thread() -> None:
    found = death((FIRST, WAIT), (None, partial(int, "no number")))
    assert (found.cause, found.blame) == ("exited with code 1", "nobody")


def test_a_process_that_was_told_to_stop_blames_no_version_that_hangs() -> None:
    assert death((FIRST, WAIT), (None, stop)).blame == "nobody"


KILLED_PARENT = """
import os, signal, time
from airflow_provider_mlops.serving.gateway.workers.child import Child

print(Child(lambda link: time.sleep(600), "test").pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_child_is_killed_with_its_parent() -> None:
    done = subprocess.run([sys.executable, "-c", KILLED_PARENT], stdout=subprocess.PIPE, check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    until = time.monotonic() + 30
    while is_alive(int(done.stdout)):
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_suspected_version_is_skipped_after_the_second_time(tmp_path: Path) -> None:
    crashes = CrashList(str(tmp_path / "crashes.json"))
    suspected = Death("was killed", ((FIRST, "predicting"), (SECOND, "predicting")), "suspected", "")
    assert deaths.record(suspected, crashes) == []
    assert crashes.find(FIRST) is None
    again = suspected._replace(involved=((FIRST, "predicting"),))
    assert [crash.version for crash in deaths.record(again, crashes)] == [1]
    # Another process reads the same list, and a version with the same number of another run is another version.
    other = CrashList(str(tmp_path / "crashes.json"))
    assert other.find(FIRST) is not None
    assert other.find(FIRST.model_copy(update={"run_id": "another"})) is None
    other.forget("churn", 1)
    assert crashes.find(FIRST) is None


def test_the_list_of_crashes_is_bounded_and_survives_what_is_no_list(tmp_path: Path) -> None:
    path = tmp_path / "crashes.json"
    path.write_text('{"last": 7, "crashes": [{"unknown": 1}]}')
    crashes = CrashList(str(path))
    assert crashes.all() == []
    for number in range(1, MAX_CRASHES + 6):
        crashes.add(ModelVersion(name="churn", version=number), "loading", "was ended by SIGABRT")
    assert [crash.version for crash in crashes.all()] == list(range(6, MAX_CRASHES + 6))
    assert crashes.last_number() == 7 + MAX_CRASHES + 5
