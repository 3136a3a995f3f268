"""The rollouts that a gateway follows: their routes, kept up with the store, and their hard limits, enforced at once.

A gateway polls the store twice a second; one small query tells whether anything has changed. While the store is away,
the last known routes go on. Where a candidate's errors pass a rollout's hard limit, seen in this process at each
failure or in the store at each poll, the route goes back to the champion in the same moment; the store is told at the
next poll, by compare-and-set, and from there all other gateways. If the store is away then, it is told when it is back.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from airflow_provider_mlops.errors import BackendUnavailableError, InvalidSpecError
from airflow_provider_mlops.serving.policy.policy import CHAMPION, Choice
from airflow_provider_mlops.serving.rollouts import transitions
from airflow_provider_mlops.serving.rollouts.arm_statistics import ArmStatistics, over_all_steps
from airflow_provider_mlops.serving.rollouts.config import HardLimits
from airflow_provider_mlops.serving.rollouts.policies import build
from airflow_provider_mlops.serving.rollouts.recent import RecentErrors, RecentTotals
from airflow_provider_mlops.serving.rollouts.rollout import Rollout, RolloutState
from airflow_provider_mlops.serving.rollouts.route import Route
from airflow_provider_mlops.serving.rollouts.store import RolloutStore

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
LINGER_SECONDS = 5.0


@dataclass
class _Watch:
    """What a gateway remembers of a rollout from one of its states to the next."""

    limits: HardLimits | None
    own: dict[str, RecentErrors] = field(default_factory=dict)
    store: dict[str, RecentTotals] = field(default_factory=dict)
    passed: str | None = None
    """Why this gateway has gone back to the champion."""


class Routing:
    """The routes by model. `route`, `answered` and `failed` are quick and may be called from any thread.

    :param by: the name of this gateway in a rollout's history.
    :param is_ready: whether a version of a model is loaded. A rollout begins here once all of its versions are.
    :param linger_seconds: how long a promoted version goes on to be routed to once the task has settled it: a gateway
        looks for the champion alias less often than for rollouts, and the old champion should not answer in between.
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
        self._seen: tuple[int, int] | None = None
        self._last_error: str | None = None

    @property
    def error(self) -> str | None:
        """Why the store cannot be asked, or None."""
        return self._last_error

    def route(self, model: str) -> Route | None:
        """How the requests for a model are routed now; None if nothing is rolled out: its active version answers."""
        return self._routes.get(model)

    def wanted(self) -> list[tuple[str, int]]:
        """The versions that rollouts need and that are not loaded."""
        return [
            (rollout.model, arm.version)
            for rollout in self._rollouts.values()
            for arm in rollout.plan.arms
            if not self._is_ready(rollout.model, arm.version)
        ]

    def keeps(self, model: str) -> set[int]:
        """The versions of a model that a rollout needs, and that must stay loaded."""
        rollout = self._rollouts.get(model)
        return set() if rollout is None else {arm.version for arm in rollout.plan.arms}

    def under_way(self) -> set[str]:
        """The ids of the rollouts that are not over, as far as is known here."""
        return {rollout.id for rollout in list(self._rollouts.values()) if rollout.state.is_under_way}

    def answered(self, model: str, choice: Choice) -> None:
        """Count an answer of a route's choice."""
        self._count(model, choice, failed=False)

    def failed(self, model: str, choice: Choice) -> None:
        """Count a failure of a route's choice; where it passes the hard limit, the champion answers from now on."""
        self._count(model, choice, failed=True)

    def unservable(self, model: str, version: int, reason: str) -> None:
        """A version of a rollout cannot be loaded: the champion answers, and the rollout is rolled back."""
        rollout = self._rollouts.get(model)
        if rollout is not None and version in self.keeps(model):
            self._go_back(rollout, f"version {version} cannot be loaded: {reason}")

    def end(self, rollout_id: str, reason: str) -> None:
        """End a rollout with nothing held against the candidate.

        Nothing happens while the store is away, or where it does not know the rollout.
        """

        def next_state(seen: Rollout) -> RolloutState | None:
            if not seen.state.is_under_way:
                return None
            return transitions.ended(seen.plan, seen.state, datetime.now(UTC), self._by, reason)

        try:
            self._store.change(rollout_id, next_state)
        except (BackendUnavailableError, InvalidSpecError) as error:
            log.warning("Rollout %s is not ended yet (%s): %s", rollout_id, reason, error)

    def poll(self) -> None:
        """Look at the store, and make routes of what has changed. Nothing is raised.

        To be called every `POLL_SECONDS`, by one thread at a time; it waits for the database.
        """
        try:
            self._tell()
            seen = self._store.changes()
            if self._seen is None or seen[0] != self._seen[0]:
                self._follow(self._occupying())
            if seen != self._seen:
                for rollout in self._rollouts.values():
                    self._look(rollout)
            self._seen = seen
        except BackendUnavailableError as error:
            if self._last_error is None:
                log.warning("The last known routes go on: %s", error)
            self._last_error = str(error)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            if reason != self._last_error:
                log.exception("The rollouts cannot be followed; the last known routes go on")
            self._last_error = reason
        else:
            if self._last_error is not None:
                log.info("The rollout store answers again")
            self._last_error = None
        over = {key for key, until in self._lingering.items() if self._clock() >= until}
        if over:
            self._follow({model: rollout for model, rollout in self._rollouts.items() if rollout.id not in over})
            self._lingering = {key: until for key, until in self._lingering.items() if key not in over}
        self._make_routes(only_missing=True)

    def _occupying(self) -> dict[str, Rollout]:
        """What the store says is to be followed, and what was promoted a moment ago."""
        found = {rollout.model: rollout for rollout in self._store.occupying()}
        for model, before in self._rollouts.items():
            if model not in found and before.id not in self._lingering:
                final = self._store.find(before.id)
                if final is not None and final.state.status == "promoted":
                    self._lingering[final.id] = self._clock() + self.linger_seconds
                    found[model] = final
            elif model not in found and self._clock() < self._lingering[before.id]:
                found[model] = before
        return found

    def _follow(self, rollouts: Mapping[str, Rollout]) -> None:
        with self._guard:
            for model in self._rollouts.keys() - rollouts.keys():
                log.info("Model %s: the rollout %s is over here", model, self._rollouts[model].id)
            self._rollouts = dict(rollouts)
            kept = {rollout.id for rollout in rollouts.values()}
            self._watches = {key: watch for key, watch in self._watches.items() if key in kept}
            self._statistics = {key: found for key, found in self._statistics.items() if key in kept}
            for rollout in rollouts.values():
                self._watches.setdefault(rollout.id, _Watch(rollout.plan.hard_limits))
            self._make_routes()

    def _look(self, rollout: Rollout) -> None:
        """Take in the statistics: for bandits to learn from, and to see failures that other gateways had."""
        limits = rollout.plan.hard_limits
        if limits is None and rollout.state.weights is not None:
            return
        arms = self._statistics[rollout.id] = over_all_steps(self._store.statistics(rollout.id))
        watch = self._watches[rollout.id]
        if limits is not None and watch.passed is None:
            for tried in rollout.plan.arms[1:]:
                # Looked at before anything is counted, too: from there on it grows.
                found = arms.get(tried.name, ArmStatistics())
                totals = watch.store.setdefault(tried.name, RecentTotals(limits.window_seconds, self._clock))
                self._judge(rollout, limits, tried.name, *totals.look(found.requests, found.errors), "all gateways")
        if rollout.state.weights is None:
            self._make_route(rollout)

    def _make_routes(self, *, only_missing: bool = False) -> None:
        with self._guard:
            for model in self._routes.keys() - self._rollouts.keys():
                del self._routes[model]
            for model, rollout in self._rollouts.items():
                known = self._routes.get(model)
                if not only_missing or known is None or known.rollout.id != rollout.id:
                    self._make_route(rollout)

    def _make_route(self, rollout: Rollout) -> None:
        with self._guard:
            if self._rollouts.get(rollout.model) is not rollout:
                return
            if not all(self._is_ready(rollout.model, arm.version) for arm in rollout.plan.arms):
                # What answered before goes on until all versions are there.
                known = self._routes.get(rollout.model)
                if known is not None and known.rollout.id != rollout.id:
                    del self._routes[rollout.model]
                return
            if self._watches[rollout.id].passed is not None and rollout.state.is_under_way:
                policy = build.to_version(rollout.plan, rollout.plan.champion)
                self._routes[rollout.model] = Route(rollout, policy)
            else:
                statistics = self._statistics.get(rollout.id, {})
                self._routes[rollout.model] = Route(rollout, build.build(rollout, statistics))

    def _count(self, model: str, choice: Choice, *, failed: bool) -> None:
        if choice.marks is None or choice.arm == CHAMPION:
            return
        watch = self._watches.get(choice.marks["rollout"])
        if watch is None or watch.limits is None or watch.passed is not None:
            return
        recent = watch.own.get(choice.arm)
        if recent is None:
            recent = watch.own.setdefault(choice.arm, RecentErrors(watch.limits.window_seconds, self._clock))
        requests, errors = recent.count(failed)
        rollout = self._rollouts.get(model)
        if failed and rollout is not None and rollout.id == choice.marks["rollout"]:
            self._judge(rollout, watch.limits, choice.arm, requests, errors, "this gateway")

    def _judge(self, rollout: Rollout, limits: HardLimits, arm: str, requests: int, errors: int, where: str) -> None:
        if requests >= limits.min_requests and errors >= limits.error_rate * requests and errors:
            self._go_back(
                rollout,
                f"{errors} of {requests} requests to {arm} failed within {limits.window_seconds} s, seen by {where}: "
                f"the hard limit is {100 * limits.error_rate:g} %",
            )

    def _go_back(self, rollout: Rollout, reason: str) -> None:
        with self._guard:
            watch = self._watches.get(rollout.id)
            if watch is None or watch.passed is not None or not rollout.state.is_under_way:
                return
            watch.passed = reason
            current = self._rollouts.get(rollout.model)
            if current is not None and current.id == rollout.id and rollout.model in self._routes:
                policy = build.to_version(current.plan, current.plan.champion)
                self._routes[rollout.model] = Route(current, policy)
        log.error("Model %s goes back to version %d: %s", rollout.model, rollout.plan.champion, reason)

    def _tell(self) -> None:
        """Write into the store which rollouts this gateway has gone back from."""
        for rollout in list(self._rollouts.values()):
            reason = self._watches[rollout.id].passed
            if reason is not None and rollout.state.is_under_way:
                # A store that was made anew does not know it, and nobody is to be told.
                with contextlib.suppress(InvalidSpecError):
                    self._store.change(rollout.id, self._rolled_back(reason))

    def _rolled_back(self, reason: str) -> Callable[[Rollout], RolloutState | None]:
        def next_state(seen: Rollout) -> RolloutState | None:
            if not seen.state.is_under_way:
                return None
            return transitions.rolled_back(seen.plan, seen.state, datetime.now(UTC), self._by, reason)

        return next_state
