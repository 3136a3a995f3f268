"""The routes of the rollouts that a gateway follows, kept up to date with the store, and their hard limits.

A gateway polls the store twice per second; one small query shows whether anything has changed. While the store is
unavailable, the last known routes stay. The gateway checks the hard limits at each failure in its own process, and at
each poll for the failures in the store. If a candidate reaches its limit, the route returns to the champion
immediately. At the next poll, or when the store is available again, the gateway writes the rollback to the store by
compare-and-set, from which all other gateways read it. The same happens to a rollout that no one has checked for its
`unattended_timeout`.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from airflow_provider_mlops.data.times import format_duration
from airflow_provider_mlops.errors import BackendUnavailableError, BackendUnusableError, InvalidSpecError
from airflow_provider_mlops.serving.policy.policy import CHAMPION, COHORT, Choice, Policy
from airflow_provider_mlops.serving.rollouts import transitions
from airflow_provider_mlops.serving.rollouts.arm_statistics import ArmStatistics, over_all_steps
from airflow_provider_mlops.serving.rollouts.attendance import Attendance, read_attendances
from airflow_provider_mlops.serving.rollouts.build_policy import build_policy, to_version
from airflow_provider_mlops.serving.rollouts.plan.config import HardLimits
from airflow_provider_mlops.serving.rollouts.plan.strategies import ShadowStrategy
from airflow_provider_mlops.serving.rollouts.recent import RecentErrors, RecentTotals, fails_like_champion
from airflow_provider_mlops.serving.rollouts.rollout import Rollout, RolloutState
from airflow_provider_mlops.serving.rollouts.route import Route
from airflow_provider_mlops.serving.rollouts.starting import StartingRollouts
from airflow_provider_mlops.serving.rollouts.store import RolloutStore
from airflow_provider_mlops.serving.rollouts.unattended import UnattendedRollouts

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
LINGER_SECONDS = 5.0


@dataclass
class _Watch:
    """The failures of a rollout that a gateway remembers from one poll to the next."""

    limits: HardLimits | None
    own: dict[str, RecentErrors] = field(default_factory=dict)
    store: dict[str, RecentTotals] = field(default_factory=dict)
    rollback_reason: str | None = None
    """Why this gateway has sent all traffic back to the champion; None if it has not."""


class Router:
    """The routes by model. `route`, `answered` and `failed` are quick and may be called from any thread.

    Parameters
    ----------
    by
        Name of this gateway in a rollout's history.
    is_ready
        Function that tells whether a version of a model is loaded. A rollout starts here once all its versions are.
    linger_seconds
        Time for which a promoted version keeps its route after the task has settled the rollout. A gateway checks the
        champion alias less often than the rollouts, and the old champion must not answer in between.
    """

    def __init__(
        self,
        store: RolloutStore,
        *,
        by: str,
        is_ready: Callable[[str, int], bool] = lambda model, version: True,
        linger_seconds: float = LINGER_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._by = by
        self._is_ready = is_ready
        self.linger_seconds = linger_seconds
        self._clock = clock
        self._guard = threading.RLock()
        self._routes: dict[str, Route] = {}
        self._rollouts: dict[str, Rollout] = {}
        self._watches: dict[str, _Watch] = {}
        self._statistics: dict[str, dict[str, ArmStatistics]] = {}
        self._lingering: dict[str, float] = {}
        self._unattended = UnattendedRollouts(clock)
        self.starting = StartingRollouts(clock)
        self._seen: tuple[int, int] | None = None
        self._last_error: str | None = None

    @property
    def error(self) -> str | None:
        """Error of the last poll; None if it succeeded."""
        return self._last_error

    def route(self, model: str) -> Route | None:
        """Return the current route of a model; None if it has no rollout, so that its active version answers."""
        return self._routes.get(model)

    def missing_versions(self) -> list[tuple[str, int]]:
        """Return the models and versions that rollouts need and that are not loaded."""
        return [
            (rollout.model, arm.version)
            for rollout in self._rollouts.values()
            for arm in rollout.plan.arms
            if not self._is_ready(rollout.model, arm.version)
        ]

    def needed_versions(self, model: str) -> set[int]:
        """Return the versions of a model that must stay loaded for its rollout."""
        rollout = self._rollouts.get(model)
        return set() if rollout is None else {arm.version for arm in rollout.plan.arms}

    def in_progress(self) -> set[str]:
        """Return the ids of the rollouts that were not over at the last poll."""
        return {rollout.id for rollout in list(self._rollouts.values()) if rollout.state.is_in_progress}

    def last_check(self, rollout_id: str) -> Attendance | None:
        """Return the last check of a rollout by its task that this gateway has read; None if it has read none."""
        return self._unattended.last(rollout_id)

    def answered(self, model: str, choice: Choice) -> None:
        """Count an answer of a route's choice."""
        self._count(model, choice, failed=False)

    def failed(self, model: str, choice: Choice) -> None:
        """Count a failure of a route's choice. At the hard limit, all traffic returns to the champion."""
        self._count(model, choice, failed=True)

    def unservable(self, model: str, version: int, reason: str) -> None:
        """Roll a rollout back because one of its versions cannot be loaded."""
        rollout = self._rollouts.get(model)
        if rollout is not None and version in self.needed_versions(model):
            self._return_to_champion(rollout, f"version {version} cannot be loaded: {reason}")

    def end(self, rollout_id: str, reason: str) -> None:
        """End a rollout without a verdict against the candidate.

        Nothing changes if the store is unavailable or does not know the rollout.
        """

        def next_state(seen: Rollout) -> RolloutState | None:
            if not seen.state.is_in_progress:
                return None
            return transitions.ended(seen.plan, seen.state, datetime.now(UTC), self._by, reason)

        try:
            self._store.change(rollout_id, next_state)
        except (BackendUnavailableError, BackendUnusableError, InvalidSpecError) as error:
            log.warning(
                "Could not end rollout %s yet: %s. It must end because %s; the gateway will try again",
                rollout_id,
                str(error).rstrip("."),
                reason,
            )

    def poll(self) -> None:
        """Read changes from the store and update the routes. Never raises.

        Call it every `POLL_SECONDS`, from one thread at a time; it waits for the database.
        """
        try:
            self._write_rollbacks()
            seen = self._store.changes()
            if self._seen is None or seen[0] != self._seen[0]:
                self._follow(self._active_rollouts())
            if seen != self._seen:
                for rollout in self._rollouts.values():
                    self._update_statistics(rollout)
            self._seen = seen
            self.starting.found(model for model, rollout in self._rollouts.items() if _shares_requests(rollout))
            self._end_unattended()
        except (BackendUnavailableError, BackendUnusableError) as error:
            if self._last_error is None:
                log.warning("Could not read the rollout store: %s Keeping the last known routes", error)
            self._last_error = str(error)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            if reason != self._last_error:
                log.exception("Could not read the rollouts; keeping the last known routes")
            self._last_error = reason
        else:
            if self._last_error is not None:
                log.info("The rollout store is available again")
            self._last_error = None
        self.starting.unknown()
        over = {key for key, until in self._lingering.items() if self._clock() >= until}
        if over:
            self._follow({model: rollout for model, rollout in self._rollouts.items() if rollout.id not in over})
            self._lingering = {key: until for key, until in self._lingering.items() if key not in over}
        self._make_routes(only_missing=True)

    def _active_rollouts(self) -> dict[str, Rollout]:
        """Return the rollouts that the store says to follow, and those that were promoted a moment ago."""
        rollouts = {rollout.model: rollout for rollout in self._store.all_active()}
        for model, before in self._rollouts.items():
            if model not in rollouts and before.id not in self._lingering:
                final = self._store.find(before.id)
                if final is not None and final.state.status == "promoted":
                    self._lingering[final.id] = self._clock() + self.linger_seconds
                    rollouts[model] = final
            elif model not in rollouts and self._clock() < self._lingering[before.id]:
                rollouts[model] = before
        return rollouts

    def _follow(self, rollouts: Mapping[str, Rollout]) -> None:
        with self._guard:
            for model in self._rollouts.keys() - rollouts.keys():
                log.info("Stopped following rollout %s of %s, because it is over", self._rollouts[model].id, model)
            self._rollouts = dict(rollouts)
            kept = {rollout.id for rollout in rollouts.values()}
            self._watches = {key: watch for key, watch in self._watches.items() if key in kept}
            self._statistics = {key: arms for key, arms in self._statistics.items() if key in kept}
            for rollout in rollouts.values():
                self._watches.setdefault(rollout.id, _Watch(rollout.plan.hard_limits))
            self._make_routes()

    def _update_statistics(self, rollout: Rollout) -> None:
        """Read the statistics, from which bandits learn and which include the failures of other gateways."""
        limits = rollout.plan.hard_limits
        if limits is None and rollout.state.weights is not None:
            return
        arms = self._statistics[rollout.id] = over_all_steps(self._store.statistics(rollout.id))
        watch = self._watches[rollout.id]
        if limits is not None and watch.rollback_reason is None:
            watched = rollout.plan.all_arms
            recent: dict[str, tuple[int, int]] = {}
            for arm in watched:
                # The first reading is taken even before anything is counted, because growth starts from there.
                counted = arms.get(arm.name, ArmStatistics())
                totals = watch.store.setdefault(arm.name, RecentTotals(limits.window_seconds, self._clock))
                recent[arm.name] = totals.update(counted.requests, counted.errors)
            for candidate in watched[1:]:
                self._check_limit(
                    rollout, limits, candidate.name, recent[candidate.name], recent[CHAMPION], "all gateways"
                )
        # A paused bandit keeps its weights.
        if rollout.state.weights is None and not rollout.state.is_paused:
            self._make_route(rollout)

    def _end_unattended(self) -> None:
        """Roll back the rollouts that no one has checked for too long."""
        watched = list(self._rollouts.values())
        for rollout, last in self._unattended.overdue(watched, lambda: read_attendances(self._store)):
            timeout = rollout.plan.unattended_timeout
            if timeout is not None:
                self._return_to_champion(
                    rollout,
                    f"no one has checked the rollout for {format_duration(timeout)} (unattended_timeout); the last "
                    f"check was by {last.by} at {last.at:%Y-%m-%d %H:%M:%S} UTC",
                )

    def _make_routes(self, *, only_missing: bool = False) -> None:
        with self._guard:
            for model in self._routes.keys() - self._rollouts.keys():
                del self._routes[model]
            for model, rollout in self._rollouts.items():
                known = self._routes.get(model)
                if not only_missing or known is None or known.rollout.id != rollout.id:
                    self._make_route(rollout)
            for model in self.starting.models():
                if model in self._routes or model not in self._rollouts:
                    self.starting.started(model)

    def _make_route(self, rollout: Rollout) -> None:
        with self._guard:
            if self._rollouts.get(rollout.model) is not rollout:
                return
            if not all(self._is_ready(rollout.model, arm.version) for arm in rollout.plan.arms):
                # The versions that answered before keep answering until all versions are loaded.
                known = self._routes.get(rollout.model)
                if known is not None and known.rollout.id != rollout.id:
                    del self._routes[rollout.model]
                return
            if self._watches[rollout.id].rollback_reason is not None and rollout.state.is_in_progress:
                policy: Policy = to_version(rollout.plan, rollout.plan.champion)
            else:
                policy = build_policy(rollout, self._statistics.get(rollout.id, {}))
            self._routes[rollout.model] = Route(rollout, policy)

    def _count(self, model: str, choice: Choice, *, failed: bool) -> None:
        if choice.rollout_context is None:
            return
        watch = self._watches.get(choice.rollout_context["rollout"])
        if watch is None or watch.limits is None or watch.rollback_reason is not None:
            return
        recent = watch.own.get(choice.arm)
        if recent is None:
            recent = watch.own.setdefault(choice.arm, RecentErrors(watch.limits.window_seconds, self._clock))
        counts = recent.count(failed)
        rollout = self._rollouts.get(model)
        if not failed or choice.arm == CHAMPION or rollout is None:
            return
        if rollout.id == choice.rollout_context["rollout"]:
            champion = watch.own.get(CHAMPION)
            champion_counts = (0, 0) if champion is None else champion.totals()
            self._check_limit(rollout, watch.limits, choice.arm, counts, champion_counts, "this gateway")

    def _check_limit(
        self,
        rollout: Rollout,
        limits: HardLimits,
        arm: str,
        candidate: tuple[int, int],
        champion: tuple[int, int],
        where: str,
    ) -> None:
        """Return all traffic to the champion at the hard limit, unless the champion fails about as often.

        A cohort is not compared with the champion, whose requests are those of other people. Both counts are requests
        and errors within the window.
        """
        requests, errors = candidate
        is_reached = requests >= limits.min_requests and errors >= limits.error_rate * requests and errors > 0
        if is_reached and (arm == COHORT or not fails_like_champion(candidate, champion)):
            whose = "of the cohort" if arm == COHORT else f"to {arm}"
            self._return_to_champion(
                rollout,
                f"{errors} of {requests} requests {whose} failed within {limits.window_seconds} s in {where}; the "
                f"hard limit is {100 * limits.error_rate:g}%",
            )

    def _return_to_champion(self, rollout: Rollout, reason: str) -> None:
        with self._guard:
            watch = self._watches.get(rollout.id)
            if watch is None or watch.rollback_reason is not None or not rollout.state.is_in_progress:
                return
            watch.rollback_reason = reason
            current = self._rollouts.get(rollout.model)
            if current is not None and current.id == rollout.id and rollout.model in self._routes:
                policy = to_version(current.plan, current.plan.champion)
                self._routes[rollout.model] = Route(current, policy)
        log.error("Rolled %s back to version %d: %s", rollout.model, rollout.plan.champion, reason)

    def _write_rollbacks(self) -> None:
        """Write to the store which rollouts this gateway has rolled back."""
        for rollout in list(self._rollouts.values()):
            reason = self._watches[rollout.id].rollback_reason
            if reason is not None and rollout.state.is_in_progress:
                # A store that was recreated does not know the rollout, so there is nothing to write.
                with contextlib.suppress(InvalidSpecError):
                    self._store.change(rollout.id, self._rolled_back(reason))

    def _rolled_back(self, reason: str) -> Callable[[Rollout], RolloutState | None]:
        def next_state(seen: Rollout) -> RolloutState | None:
            if not seen.state.is_in_progress:
                return None
            return transitions.rolled_back(seen.plan, seen.state, datetime.now(UTC), self._by, reason)

        return next_state


def _shares_requests(rollout: Rollout) -> bool:
    return rollout.state.is_in_progress and not isinstance(rollout.plan.strategy, ShadowStrategy)
