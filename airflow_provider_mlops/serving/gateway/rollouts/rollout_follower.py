"""Connects a gateway process to the rollout store: it reads routes, writes evidence and loads the versions needed."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.errors import BackendUnavailableError, BackendUnusableError
from airflow_provider_mlops.serving.gateway.http.metrics import Metrics
from airflow_provider_mlops.serving.gateway.settings import Settings
from airflow_provider_mlops.serving.log import prediction_id
from airflow_provider_mlops.serving.log.segments import Segment
from airflow_provider_mlops.serving.log.write_ahead import WriteAhead
from airflow_provider_mlops.serving.models.served_model import ServedModel
from airflow_provider_mlops.serving.models.served_models import ServedModels
from airflow_provider_mlops.serving.policy.policy import Choice
from airflow_provider_mlops.serving.protocols.responses import RolloutStatus
from airflow_provider_mlops.serving.repeated_log import RepeatedLog
from airflow_provider_mlops.serving.rollouts.evidence.ageing import Ageing
from airflow_provider_mlops.serving.rollouts.evidence.ingestion import Ingestion
from airflow_provider_mlops.serving.rollouts.rollout import step_text
from airflow_provider_mlops.serving.rollouts.route import Route
from airflow_provider_mlops.serving.rollouts.router import LINGER_SECONDS, Router
from airflow_provider_mlops.serving.rollouts.store import RolloutStore, default_url
from airflow_provider_mlops.serving.rows.request_error import RequestError

log = logging.getLogger(__name__)
repeated = RepeatedLog(log)


class RolloutFollower:
    """The rollouts that a gateway process follows. An unavailable store delays no request and loses no evidence.

    Parameters
    ----------
    settings
        Address of the store.
    models
        Models in memory.
    write_ahead
        Log from which evidence is ingested.
    metrics
        Metrics to update.
    """

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
        self._ageing = Ageing(self._store.engine)
        self._ager = ThreadPoolExecutor(1, thread_name_prefix="ageing")
        self._loading: dict[tuple[str, int], asyncio.Task[None]] = {}
        # The version that was active when this process first saw each rollout.
        self._active_at_start: dict[str, int | None] = {}
        self._ingest_problem: str | None = None

    @property
    def linger_seconds(self) -> float:
        """Seconds for which a finished rollout is still followed, until the champion alias has been read again."""
        return self._router.linger_seconds

    @property
    def problem(self) -> str | None:
        """Why routes and evidence may be out of date; None if the rollout store is available."""
        return None if self._router.error is None else f"the rollout store: {self._router.error}"

    def route(self, served: ServedModel) -> Route | None:
        """Return the current route of a model; None if its active version answers all requests.

        If someone activates another version during the rollout, through the admin API or by moving the alias, or
        removes the alias, the rollout gives way: here with the next request, elsewhere once the store is updated.
        """
        route = self._router.route(served.name)
        return None if route is None or self._gives_way(route, served) else route

    def check_started(self, served: ServedModel) -> None:
        """Raise RequestError (503) while a rollout from before the start of this process has no route yet.

        Otherwise, the champion would answer requests of users who have another version.
        """
        if self._router.starting.waits(served.name):
            message = f"The gateway is loading the versions of a rollout of model {served.name!r}. Retry later."
            raise RequestError(503, message, Retry_After="1")

    def starting(self) -> list[str]:
        """Return which rollouts are not followed yet after the start of this process."""
        return [f"the versions of the rollout of {model!r} are loading" for model in self._router.starting.models()]

    def _gives_way(self, route: Route, served: ServedModel) -> bool:
        active, rollout = served.active, route.rollout
        if active is None:
            # No version is active before the alias is first read; afterwards, someone has removed the alias.
            return rollout.id in self._active_at_start
        active_at_start = self._active_at_start.setdefault(rollout.id, active)
        if active == active_at_start:
            return False
        # A gateway that has not yet followed the alias to the rollout's champion is merely behind, and so is one that
        # follows it to the promoted version. A later change back is an intervention.
        promoted = rollout.state.version
        if active == promoted or (active == route.champion and active_at_start != promoted):
            self._active_at_start[rollout.id] = active
            return False
        return True

    def record_success(self, model: str, choice: Choice) -> None:
        """Count a prediction of the version that a route chose."""
        self._router.answered(model, choice)

    def record_failure(self, model: str, choice: Choice, received: float, error: str) -> None:
        """Count and log a failed prediction of the version that a route chose.

        Parameters
        ----------
        received
            Time of the request's last byte, from `time.perf_counter`.
        """
        self._router.failed(model, choice)
        if choice.rollout_context is None:
            return
        latency = (time.perf_counter() - received) * 1000
        try:
            self._write_ahead.failure(
                prediction_id.new(model),
                model=model,
                version=choice.version,
                arm=choice.arm,
                latency_ms=latency,
                error=error,
                rollout_context=choice.rollout_context,
            )
        except OSError as reason:
            log.error(
                "Could not log a failed request of version %d of %s: %s. Check the disk of the gateway",
                choice.version,
                model,
                reason,
            )

    def record_copy(self, model: str, choice: Choice, failed: bool) -> None:
        """Count the outcome of a copy for a shadow. May be called from any thread."""
        if failed:
            self._router.failed(model, choice)
        else:
            self._router.answered(model, choice)

    def status(self, model: str) -> RolloutStatus | None:
        """Return the state of a model's rollout for the admin API."""
        route = self._router.route(model)
        if route is None:
            return None
        plan, state, cohort = route.rollout.plan, route.rollout.state, route.rollout.plan.cohort
        weights: dict[str, float] = {}
        for (_, arm), weight in route.policy.weights().items():
            weights[arm] = weights.get(arm, 0.0) + weight
        timeout, last = route.rollout.plan.unattended_timeout, self._router.last_check(route.rollout.id)
        return {
            "id": route.rollout.id,
            "strategy": plan.strategy.kind,
            "status": state.status,
            "paused": state.is_paused,
            "step": state.step,
            "step_text": step_text(plan, state.step),
            "arms": {arm.name: arm.version for arm in plan.all_arms},
            "weights": weights,
            "cohort": None if cohort is None else cohort.text,
            "last_check": None if last is None else last.at.isoformat(),
            "last_check_by": None if last is None else last.by,
            "unattended_timeout": None if timeout is None else timeout.total_seconds(),
            "store_error": self._router.error,
        }

    def wanted(self) -> list[tuple[str, int]]:
        """Return the versions that rollouts need and that are not loaded."""
        return self._router.missing_versions()

    async def follow(self) -> None:
        """Read the rollout store once. If that fails, the last known routes stay."""
        await asyncio.get_running_loop().run_in_executor(self._poller, self._router.poll)
        if self._router.error is not None:
            self._metrics.count_store_failure("follow")
        self._models.keep(self._router.needed_versions)
        await self._give_way()
        for key in self._router.missing_versions():
            if key not in self._loading and self._models.serves(key[0]) and self._models.is_due(*key):
                self._loading[key] = asyncio.create_task(self._load(*key))

    async def _give_way(self) -> None:
        followed = [(served, route) for served in self._models.all() if (route := self._router.route(served.name))]
        ids = {route.rollout.id for _, route in followed}
        self._active_at_start = {key: active for key, active in self._active_at_start.items() if key in ids}
        for served, route in followed:
            if self._gives_way(route, served) and route.rollout.state.is_in_progress:
                reason = self._why_it_gives_way(route.champion, served)
                await asyncio.get_running_loop().run_in_executor(
                    self._poller, self._router.end, route.rollout.id, reason
                )

    def _why_it_gives_way(self, champion: int, served: ServedModel) -> str:
        """Return why a rollout ends because of its champion, for the report and the error of its task."""
        if served.stands_in_for == champion:
            return f"the champion, version {champion}, cannot be used, and version {served.active} answers instead"
        if served.active is None and champion in served.failures:
            return f"the champion, version {champion}, cannot be used: {served.failures[champion].rstrip('.')}"
        if served.active is None:
            return "the champion was withdrawn during the rollout: someone removed its alias or withdrew the version"
        if served.active == self._models.champions.version(served.name):
            return f"someone made version {served.active} the champion instead of version {champion} during the rollout"
        return f"version {served.active} was activated through the API during the rollout"

    async def ingest_now(self) -> None:
        """Ingest everything logged so far. Never raises: evidence that could not be ingested stays in the log."""
        try:
            await asyncio.get_running_loop().run_in_executor(self._ingester, self._ingestion.run)
        except Exception as error:
            self._metrics.count_store_failure("ingest")
            self._warn_not_ingested(error)
        else:
            if self._ingest_problem is not None:
                log.info("The evidence of rollouts is copied to the rollout store again")
            self._ingest_problem = None
        outcomes = self._ingestion.take_outcomes()
        self._metrics.count_rewards(outcomes)
        if outcomes["late"]:
            repeated.warning(
                "late",
                "Did not count %s that arrived after the reward window of the rollouts in progress. If they belong to "
                "a rollout, set a longer window in its reward",
                pluralize(outcomes["late"], "reward"),
            )

    def _warn_not_ingested(self, error: Exception) -> None:
        """Log that evidence is not ingested, once per problem."""
        is_outage = isinstance(error, BackendUnavailableError | BackendUnusableError)
        problem = type(error).__name__ if is_outage else repr(error)
        if problem != self._ingest_problem:
            log.warning(
                "Could not copy the evidence of rollouts to the rollout store: %s. It stays in the write-ahead log "
                "and is copied later",
                str(error).rstrip("."),
                exc_info=None if is_outage else error,
            )
        self._ingest_problem = problem

    def is_ingested(self, segment: Segment) -> bool:
        """Return whether the evidence of a finished segment has been ingested."""
        return self._ingestion.is_ingested(segment)

    def is_in_progress(self, rollout: str) -> bool:
        """Return whether a rollout is followed and has not finished."""
        return rollout in self._router.in_progress()

    async def age(self) -> None:
        """Delete what has waited too long in the store. Never raises if the store is unavailable."""
        try:
            outcomes = await asyncio.get_running_loop().run_in_executor(self._ager, self._ageing.run)
        except (BackendUnavailableError, BackendUnusableError) as error:
            log.debug("Could not delete old decisions and rewards from the rollout store: %s", error)
        else:
            self._metrics.count_rewards(outcomes)

    async def close(self) -> None:
        """Ingest the rest of the log and disconnect from the store."""
        for task in self._loading.values():
            task.cancel()
        await self.ingest_now()
        self._ager.shutdown(wait=False, cancel_futures=True)
        self._poller.shutdown(wait=False, cancel_futures=True)
        self._ingester.shutdown()
        self._store.close()

    async def _load(self, model: str, version: int) -> None:
        try:
            await self._models.load(model, version)
        except RequestError as error:
            # An unavailable registry is asked again at the next poll; other errors are permanent.
            if error.status != 503:
                await asyncio.get_running_loop().run_in_executor(
                    self._poller, self._router.unservable, model, version, error.message
                )
        finally:
            del self._loading[model, version]
