"""Why a process of the gateway ended, and which version is to blame."""

from __future__ import annotations

import logging
import re
import signal
from typing import Literal, NamedTuple

from airflow_provider_mlops.registry.model_version import ModelVersion
from airflow_provider_mlops.serving.gateway.workers.child import Child
from airflow_provider_mlops.serving.models.activity import Action
from airflow_provider_mlops.serving.models.crash_list import Crash, CrashList

log = logging.getLogger(__name__)

_CRASHES = {
    signal.SIGABRT,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGSEGV,
    signal.SIGSYS,
    signal.SIGTRAP,
}
"""Signals that a process gets because of what it did itself."""
_MAX_STACK_LINES = 20
_CURRENT = re.compile(r"^Current thread 0x([0-9a-f]+)[^\n]*\n((?:  [^\n]*\n?)*)", re.M)

Blame = Literal["nobody", "suspected", "certain"]


class Death(NamedTuple):
    """The end of a process.

    Parameters
    ----------
    cause
        How it ended, as in "was ended by SIGABRT".
    involved
        The versions that it was loading or predicting with, as far as they may be the cause.
    blame
        Whether the involved versions are the cause.
    stack
        Python's stack at the time, if it is known.
    """

    cause: str
    involved: tuple[tuple[ModelVersion, Action], ...]
    blame: Blame
    stack: str

    def describe(self) -> str:
        """Return the cause and the involved versions in words."""
        if not self.involved:
            return self.cause
        parts = {f"{action} {'with ' if action == 'predicting' else ''}{version}" for version, action in self.involved}
        return f"{self.cause} while {' and '.join(sorted(parts))}"


def examine(child: Child, exit_code: int, *, ran_out_of_memory: bool) -> Death:
    """Examine a process that has ended.

    Parameters
    ----------
    exit_code
        Exit code, or the negative number of a signal.
    ran_out_of_memory
        Whether the kernel has killed a process because memory ran out.
    """
    busy = {thread: (number, action) for thread, number, action in child.table.busy()}
    cause = _describe(exit_code, ran_out_of_memory)
    stack = ""
    blame: Blame = "nobody"
    if child.table.is_stopping:
        return Death(cause, (), "nobody", "")
    if exit_code >= 0:
        # The process has ended itself, in the middle of a call.
        blame = "certain"
    elif -exit_code in _CRASHES:
        blame = "certain"
        current = _CURRENT.search(child.faults())
        if current is not None:
            stack = "\n".join(current[2].splitlines()[:_MAX_STACK_LINES])
            thread = int(current[1], 16)
            # A thread that runs no version has crashed by itself. Without a current thread, it is not one of Python's:
            # libraries start such threads for a version.
            busy = {thread: busy[thread]} if thread in busy else {}
    elif -exit_code == signal.SIGKILL and ran_out_of_memory:
        blame = "suspected"
    involved = {(child.versions[number], action) for number, action in busy.values() if number in child.versions}
    if blame == "certain" and len({version for version, _ in involved}) > 1:
        blame = "suspected"
    if not involved:
        blame = "nobody"
    return Death(cause, tuple(sorted(involved, key=str)), blame, stack)


def _describe(exit_code: int, ran_out_of_memory: bool) -> str:
    if exit_code >= 0:
        return f"exited with code {exit_code}"
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = f"signal {-exit_code}"
    if -exit_code == signal.SIGKILL and ran_out_of_memory:
        return "was killed because memory ran out (SIGKILL)"
    return f"was ended by {name}"


def record(death: Death, crashes: CrashList) -> list[Crash]:
    """Add the versions that are to blame to the list of crashes. Returns those that are skipped from now on."""
    skipped = []
    for version, action in death.involved if death.blame != "nobody" else ():
        try:
            crash = crashes.add(version, action, death.cause, is_certain=death.blame == "certain")
        except OSError as error:
            log.error("Could not store that %s crashed, so it is loaded again: %s", version, error)
        else:
            if crash.is_skipped:
                skipped.append(crash)
    return skipped
