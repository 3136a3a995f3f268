"""What the store keeps per request, and for how long: decisions and rewards that wait, and clocks that jump."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Table, func, select

from airflow_provider_mlops.serving.log import prediction_id
from airflow_provider_mlops.serving.log.write_ahead import WriteAhead
from airflow_provider_mlops.serving.rollouts.evidence import ageing, reward_matching
from airflow_provider_mlops.serving.rollouts.evidence.ageing import Ageing
from airflow_provider_mlops.serving.rollouts.evidence.ingestion import Ingestion
from airflow_provider_mlops.serving.rollouts.rollout import Rollout
from airflow_provider_mlops.serving.rollouts.store import RolloutStore
from airflow_provider_mlops.serving.rollouts.tables import DECISIONS, REWARDS, ROLLOUTS
from airflow_provider_mlops.serving.rollouts.transitions import ended
from tests.helpers.logged_traffic import SCHEMA, opened
from tests.helpers.prediction_log import log_predictions
from tests.helpers.rollouts import bandit, task

HOUR = 3600.0
DAY = 24 * HOUR


@dataclass
class World:
    """A gateway and its two clocks, which only the test moves."""

    store: RolloutStore
    log: WriteAhead
    monotonic: float = 1000.0
    wall: float = field(default_factory=lambda: datetime.now(UTC).timestamp())

    def __post_init__(self) -> None:
        self.ingestion = Ingestion(self.store, self.log.root, self.log)
        self.ageing = self.gateway()

    def gateway(self) -> Ageing:
        return Ageing(self.store.engine, monotonic=lambda: self.monotonic, wall=lambda: self.wall)

    def start(self, model: str = "churn", window: float = HOUR) -> Rollout:
        return self.store.start(model, bandit(reward={"window": timedelta(seconds=window)}), task(f"run of {model}"))

    def answer(self, rollout: Rollout, rows: int = 1) -> str:
        request = f"{int(self.wall * 1000):012x}" + prediction_id.new()[12:]
        log_predictions(
            self.log,
            SCHEMA,
            request,
            arm="candidate",
            propensity=0.5,
            features=[[40] * rows],
            output=[1] * rows,
            latency_ms=2.0,
            rollout_context={"rollout": rollout.id, "step": 0},
        )
        self.ingestion.run()
        return request

    def reward(self, *names: str) -> None:
        self.log.feedback([(name, None, 1.0) for name in names])
        self.ingestion.run()

    def pass_time(self, seconds: float, *gateways: Ageing) -> None:
        """Let time pass on both clocks, as the gateways see it every ten seconds, but in fewer steps."""
        for _ in range(10):
            self.monotonic += seconds / 10
            self.wall += seconds / 10
            for gateway in gateways or (self.ageing,):
                gateway.run()

    def counted(self, rollout: Rollout) -> int:
        return self.store.statistics(rollout.id)[0, "candidate"].reward_count

    def rows(self, table: Table) -> int:
        with self.store.engine.reading() as connection:
            return connection.scalar(select(func.count()).select_from(table)) or 0


@pytest.fixture
def world(url: str, tmp_path: Path) -> Iterator[World]:
    store, log = RolloutStore(url), opened(tmp_path)
    yield World(store, log)
    log.close()
    store.close()


def test_an_answer_whose_reward_has_been_counted_leaves_no_row(world: World) -> None:
    rollout = world.start()
    first, second = world.answer(rollout), world.answer(rollout, rows=3)
    assert world.rows(DECISIONS) == 2
    world.reward(first, f"{second}-0", f"{second}-2")
    assert (world.rows(DECISIONS), world.counted(rollout)) == (1, 3)
    world.reward(first, f"{second}-0", f"{second}-1")
    assert (world.rows(DECISIONS), world.counted(rollout)) == (0, 4)
    world.reward(first, f"{second}-1")
    assert world.counted(rollout) == 4
    assert world.ingestion.take_outcomes() == {"counted": 4}


def test_answers_wait_for_their_rewards_as_long_as_declared(world: World) -> None:
    hour, day = world.start("churn"), world.start("other", window=DAY)
    names = {rollout.id: [world.answer(rollout) for _ in range(2)] for rollout in (hour, day)}
    world.ageing.run()
    world.pass_time(0.9 * HOUR)
    world.reward(names[hour.id][0])
    assert world.counted(hour) == 1
    world.pass_time(0.2 * HOUR)
    assert world.rows(DECISIONS) == 2
    world.reward(names[hour.id][1], names[day.id][0])
    assert (world.counted(hour), world.counted(day)) == (1, 1)
    world.pass_time(DAY)
    assert world.rows(DECISIONS) == 0


def test_what_is_overdue_and_what_comes_late_is_counted_as_such(world: World) -> None:
    rollout = world.start()
    world.wall -= 2 * HOUR
    with world.store.engine.writing() as connection:
        # It has been in progress for a day.
        connection.execute(ROLLOUTS.update().values(started_at=(datetime.now(UTC) - timedelta(days=1)).isoformat()))
    late = world.answer(rollout)
    world.ageing.run()
    world.pass_time(1.5 * HOUR)
    assert world.rows(DECISIONS) == 0
    world.reward(late)
    assert world.ingestion.take_outcomes() == {"late": 1}
    # A label of a prediction that was made before the rollout is not late for it.
    world.reward(f"{int((world.wall - 30 * DAY) * 1000):012x}" + late[12:])
    assert world.ingestion.take_outcomes() == {"unmatched": 1}
    assert world.rows(REWARDS) == 0


def test_the_number_of_missing_rewards_is_told(world: World) -> None:
    rollout = world.start()
    for _ in range(5):
        world.answer(rollout)
    world.ageing.run()
    world.monotonic += 1.1 * HOUR
    world.wall += 1.1 * HOUR
    assert world.ageing.run() == {"missing": 5}


def test_rewards_for_predictions_that_never_happened_are_bounded_and_age(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reward_matching, "MAX_WAITING_REWARDS", 100)
    rollout = world.start()
    early = prediction_id.new()
    world.reward(*(prediction_id.new() for _ in range(99)), early)
    assert world.rows(REWARDS) == 100
    for _ in range(5):
        world.reward(*(prediction_id.new() for _ in range(50)))
        assert world.rows(REWARDS) == 100
    assert world.ingestion.take_outcomes() == {"unmatched": 250}
    world.answer(rollout)
    world.ageing.run()
    world.pass_time(0.9 * HOUR)
    assert world.rows(REWARDS) == 100
    world.pass_time(0.2 * HOUR)
    assert world.rows(REWARDS) == 0


@pytest.mark.parametrize("jump", [-DAY, DAY])
def test_a_wall_clock_that_jumps_ages_nothing_too_early_and_keeps_nothing_forever(
    world: World, jump: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollout = world.start(window=2 * HOUR)
    before = world.answer(rollout)
    world.ageing.run()
    world.pass_time(0.5 * HOUR)
    world.wall += jump
    during = world.answer(rollout)
    world.pass_time(0.5 * HOUR)
    world.wall -= jump
    after = world.answer(rollout)
    world.pass_time(0.5 * HOUR)
    assert world.rows(DECISIONS) == 3
    world.reward(before, during)
    assert world.counted(rollout) == 2
    again = world.answer(rollout)
    world.wall += jump
    world.answer(rollout)
    world.wall -= jump
    # Now and then, a gateway looks at all rows, whatever their ids say.
    monkeypatch.setattr(ageing, "_COMPLETE_EVERY", 7)
    world.pass_time(4 * HOUR)
    assert world.rows(DECISIONS) == 0
    world.reward(after, again)
    assert world.counted(rollout) == 2


def test_several_gateways_advance_the_clock_once(world: World) -> None:
    rollout = world.start()
    world.answer(rollout)
    gateways = [world.gateway() for _ in range(4)]
    world.pass_time(10, *gateways)
    world.pass_time(0.8 * HOUR, *gateways)
    assert world.rows(DECISIONS) == 1
    # One takes over when the one that advanced the clock is gone.
    world.pass_time(0.5 * HOUR, *gateways[2:])
    assert world.rows(DECISIONS) == 0


def test_nothing_ages_while_no_gateway_runs(world: World) -> None:
    rollout = world.start()
    name = world.answer(rollout)
    world.ageing.run()
    world.pass_time(0.5 * HOUR)
    world.monotonic, world.wall = 5.0, world.wall + 30 * DAY
    restarted = world.gateway()
    restarted.run()
    world.pass_time(0.2 * HOUR, restarted)
    world.reward(name)
    assert world.counted(rollout) == 1


def test_a_rollout_that_is_over_leaves_its_sums_and_a_small_file(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.db"
    store, log = RolloutStore(f"sqlite:///{path}"), opened(tmp_path)
    world = World(store, log)
    rollout, other = world.start("churn"), world.start("other")
    kept = world.answer(other)
    row = {"rollout": 1, "step": 0, "arm": 0, "rows": 1, "since": 0}
    with store.engine.writing() as connection:
        rows = [{**row, "prediction_id": bytes.fromhex(prediction_id.new())} for _ in range(200_000)]
        connection.execute(DECISIONS.insert(), rows)
    store.close()
    size = path.stat().st_size
    assert size > 200_000 * 25
    assert size < 200_000 * 45
    store.compare_and_set(rollout, ended(rollout.plan, rollout.state, datetime.now(UTC), "task", "enough"))
    for _ in range(5):
        world.ageing.run()
    assert world.rows(DECISIONS) == 1
    store.close()
    assert path.stat().st_size < size / 3
    world.reward(kept)
    assert world.counted(other) == 1
