"""The rollouts that this process follows: routes from the store, evidence into it, versions loaded for it."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_provider_mlops.errors import BackendUnavailableError
from airflow_provider_mlops.serving.gateway.http.metrics import Metrics
from airflow_provider_mlops.serving.gateway.settings import Settings
from airflow_provider_mlops.serving.log import prediction_id
from airflow_provider_mlops.serving.log.segments import Segment
from airflow_provider_mlops.serving.log.write_ahead import WriteAhead
from airflow_provider_mlops.serving.models.served_model import ServedModel
from airflow_provider_mlops.serving.models.served_models import ServedModels
from airflow_provider_mlops.serving.policy.policy import Choice
from airflow_provider_mlops.serving.rollouts.ingestion import Ingestion
from airflow_provider_mlops.serving.rollouts.route import Route
from airflow_provider_mlops.serving.rollouts.router import LINGER_SECONDS, POLL_SECONDS, Router
from airflow_provider_mlops.serving.rollouts.store import RolloutStore, default_url
from airflow_provider_mlops.serving.rows.request_error import RequestError

log = logging.getLogger(__name__)

_KEPT_FOR = timedelta(days=30)
"""How long after its end rewards still count for a rollout; then its decisions are forgotten."""


class RolloutFollower:
    """What joins a gateway process to the rollout store. A store that is away delays no request and loses nothing."""

    def __init__(self, settings: Settings, models: ServedModels, write_ahead: WriteAhead, metrics: Metrics) -> None:
        self._models = models
        self._write_ahead = write_ahead
        self._metrics = metrics
        self._store = RolloutStore(settings.rollout_store or default_url(settings.storage_uri))
        self._router = Router(
            self._store,
            by=f"gateway {write_ahead.writer}",
            is_ready=models.is_loaded,
            linger_seconds=LINGER_SECONDS + settings.poll_seconds,
        )
        self._ingestion = Ingestion(self._store, write_ahead.root, write_ahead)
        self._poller = ThreadPoolExecutor(1, thread_name_prefix="rollouts")
        self._ingester = ThreadPoolExecutor(1, thread_name_prefix="ingest")
        self._loading: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._active_then: dict[str, int | None] = {}
        self._not_ingested: str | None = None

    def route(self, served: ServedModel) -> Route | None:
        """How the requests for a model are routed now; None where its active version answers them all.

        Whoever activates another version meanwhile, by the admin API or by moving the alias, or takes the alias away,
        is obeyed at once: the rollout gives way, here with the next request, and everywhere once the store knows.
        """
        route = self._router.route(served.name)
        return None if route is None or self._gives_way(route, served) else route

    def _gives_way(self, route: Route, served: ServedModel) -> bool:
        active, rollout = served.active, route.rollout
        if active is None:
            # Before the first look at the alias nothing is active; later, somebody has taken the alias away.
            return rollout.id in self._active_then
        then = self._active_then.setdefault(rollout.id, active)
        if active == then:
            return False
        # A gateway that has not followed the alias to the rollout's champion yet is behind, and overrules nobody; nor
        # does one that follows it to what was promoted. Whoever goes back from there is obeyed.
        promoted = rollout.state.version
        if active == promoted or (active == route.champion and then != promoted):
            self._active_then[rollout.id] = active
            return False
        return True

    def answered(self, model: str, choice: Choice) -> None:
        """Count an answer of a route's choice."""
        self._router.answered(model, choice)

    def failed(self, model: str, choice: Choice, received: float, error: str) -> None:
        """Count and log that a version failed to answer a request that a route gave it.

        :param received: when the request's last byte came, of `time.perf_counter`.
        """
        self._router.failed(model, choice)
        if choice.rollout_context is None:
            return
        latency = (time.perf_counter() - received) * 1000
        try:
            self._write_ahead.failure(
                prediction_id.new(), model=model, version=choice.version, arm=choice.arm, latency_ms=latency,
                error=error, rollout_context=choice.rollout_context,
            )  # fmt: skip
        except OSError as reason:
            log.error("A failure of version %d of %s is not logged: %s", choice.version, model, reason)

    def shadowed(self, model: str, choice: Choice, failed: bool) -> None:
        """Count what came of a copy for a shadow; the log has it already. May be called from any thread."""
        count = self._router.failed if failed else self._router.answered
        count(model, choice)

    def status(self, model: str) -> dict[str, Any] | None:
        """What the admin API says of a model's rollout."""
        route = self._router.route(model)
        if route is None:
            return None
        state = route.rollout.state
        shares: dict[str, float] = {}
        for (_, arm), share in route.policy.weights().items():
            shares[arm] = shares.get(arm, 0.0) + share
        return {
            "id": route.rollout.id,
            "strategy": route.rollout.plan.strategy.kind,
            "status": state.status,
            "step": state.step,
            "arms": {arm.name: arm.version for arm in route.rollout.plan.arms},
            "weights": shares,
            "store_error": self._router.error,
        }

    def wanted(self) -> list[tuple[str, int]]:
        """The versions that rollouts need and that are not loaded."""
        return self._router.missing_versions()

    async def follow(self) -> None:
        """Keep the routes up with the store, for ever."""
        while True:
            try:
                await self._poll()
            except Exception:
                log.exception("The rollouts cannot be followed; the last known routes go on")
            await asyncio.sleep(POLL_SECONDS)

    async def _poll(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._poller, self._router.poll)
        if self._router.error is not None:
            self._metrics.store_failed("follow")
        self._models.keep(self._router.needed_versions)
        await self._give_way()
        for key in self._router.missing_versions():
            if key not in self._loading and self._models.serves(key[0]) and self._models.is_due(*key):
                self._loading[key] = asyncio.create_task(self._load(*key))

    async def _give_way(self) -> None:
        followed = [(served, route) for served in self._models.all() if (route := self._router.route(served.name))]
        ids = {route.rollout.id for _, route in followed}
        self._active_then = {key: active for key, active in self._active_then.items() if key in ids}
        for served, route in followed:
            if self._gives_way(route, served) and route.rollout.state.is_in_progress:
                reason = (
                    "the champion was withdrawn meanwhile"
                    if served.active is None
                    else f"version {served.active} was activated meanwhile"
                )
                await asyncio.get_running_loop().run_in_executor(
                    self._poller, self._router.end, route.rollout.id, reason
                )

    async def ingest(self) -> None:
        """Bring what is logged into the store, for ever."""
        while True:
            await self.ingest_now()
            await asyncio.sleep(POLL_SECONDS)

    async def ingest_now(self) -> None:
        """Bring what is logged up to now into the store. Nothing is raised: what was not ingested stays in the log."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._ingester, self._ingestion.run)
        except Exception as error:
            self._metrics.store_failed("ingest")
            self._stays(error)
        else:
            if self._not_ingested is not None:
                log.info("The evidence of rollouts is ingested again")
            self._not_ingested = None

    def _stays(self, error: Exception) -> None:
        """Say once of an outage, and of anything else, that the evidence is not ingested."""
        reason = "away" if isinstance(error, BackendUnavailableError) else repr(error)
        if reason != self._not_ingested:
            cause = None if isinstance(error, BackendUnavailableError) else error
            log.warning("The evidence of rollouts stays in the write-ahead log: %s", error, exc_info=cause)
        self._not_ingested = reason

    def is_ingested(self, segment: Segment) -> bool:
        """Whether a finished segment is no longer needed for rollouts."""
        return self._ingestion.is_ingested(segment)

    def is_under_way(self, rollout: str) -> bool:
        """Whether a rollout is followed and not over."""
        return rollout in self._router.in_progress()

    async def forget(self) -> None:
        """Remove from the store what is needed for nothing any more. Nothing is raised."""
        before = datetime.now(UTC) - _KEPT_FOR
        try:
            gone = await asyncio.get_running_loop().run_in_executor(self._poller, self._store.forget, before)
        except BackendUnavailableError as error:
            log.debug("Old decisions stay in the store: %s", error)
        else:
            if gone:
                log.info("Forgot %d decisions and rewards of rollouts that are long over", gone)

    async def close(self) -> None:
        """Ingest what is left, and let go of the store."""
        for task in self._loading.values():
            task.cancel()
        await self.ingest_now()
        self._poller.shutdown(wait=False, cancel_futures=True)
        self._ingester.shutdown()
        self._store.close()

    async def _load(self, model: str, version: int) -> None:
        try:
            await self._models.load(model, version)
        except RequestError as refusal:
            # A registry that is away is asked again at the next poll; anything else will hardly get better.
            if refusal.status != 503:
                await asyncio.get_running_loop().run_in_executor(
                    self._poller, self._router.unservable, model, version, refusal.message
                )
        finally:
            del self._loading[model, version]
