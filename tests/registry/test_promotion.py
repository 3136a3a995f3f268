"""Aliases and the audit trail: one winner of two, crashes between the entry and the alias, rollback."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sklearn.linear_model import LogisticRegression

from airflow_provider_mlops.data.task_identity import TaskIdentity
from airflow_provider_mlops.errors import InvalidSpecError, PromotionConflictError
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.registry import audit, models, promotion, registration
from airflow_provider_mlops.registry.aliases import settle_aliases
from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.model_version import ModelVersion
from airflow_provider_mlops.registry.run import open_run


@pytest.fixture
def registry(workspace: Workspace) -> Registry:
    """A registry with four versions of the model `churn`."""
    import pandas

    features = pandas.DataFrame({"age": [1.0, 2.0, 3.0, 4.0]})
    model = LogisticRegression().fit(features, [0, 0, 1, 1])
    registry = workspace.registry()
    for index in range(4):
        with open_run(registry, _task(f"train{index}"), "train") as run:
            model_id = registration.log_model(run, model, features)
            registration.register(run, "churn", model_id, _task(f"train{index}"))
    return registry


def _task(name: str) -> TaskIdentity:
    return TaskIdentity(dag_id="churn", run_id="r1", task_id=name)


def _version(number: int) -> ModelVersion:
    return ModelVersion(name="churn", version=number, run_id="")


def _promote(registry: Registry, number: int, expected: int | None, by: str = "deploy", **options: Any) -> Any:
    return promotion.promote(registry, _version(number), expected=expected, by=_task(by), reason="better", **options)


def _crash_after_entry(
    registry: Registry, action: audit.Action, *, from_version: int | None, to_version: int | None, by: str
) -> None:
    """Write the entry of a task that then dies before it moves the aliases."""
    entry = audit.AuditEntry(
        sequence=audit.next_sequence(audit.last(registry, "churn")),
        action=action,
        model_name="churn",
        from_version=from_version,
        to_version=to_version,
        previous_version=from_version if to_version is not None else None,
        by=_task(by),
        reason="better",
    )
    audit.append(registry, entry)


def test_the_champion_before_becomes_previous_and_the_trail_says_so(registry: Registry) -> None:
    promotion.set_challenger(registry, _version(1))
    assert models.aliases(registry, "churn") == {"challenger": 1}
    _promote(registry, 1, None, "first")
    assert models.aliases(registry, "churn") == {"champion": 1}
    _promote(registry, 2, 1, "second")
    assert models.aliases(registry, "churn") == {"champion": 2, "previous": 1}
    trail = audit.entries(registry, "churn")
    assert [(e.sequence, e.action, e.from_version, e.to_version, e.by.task_id, e.reason) for e in trail] == [
        (1, "promote", None, 1, "first", "better"),
        (2, "promote", 1, 2, "second", "better"),
    ]
    champion = promotion.champion(registry, "churn")
    assert champion is not None
    assert champion.version == 2


def test_a_champion_that_was_not_expected_is_a_conflict_that_names_it(registry: Registry) -> None:
    _promote(registry, 1, None, "first")
    with pytest.raises(
        PromotionConflictError, match=r"compared with no champion, but the champion is version 1.*churn/r1/first"
    ):
        _promote(registry, 2, None, "second")
    assert models.aliases(registry, "churn") == {"champion": 1}
    _promote(registry, 2, None, "second", check=False)
    assert models.aliases(registry, "churn")["champion"] == 2


def test_a_retry_writes_no_second_entry(registry: Registry) -> None:
    first = _promote(registry, 1, None)
    assert _promote(registry, 1, None) == first
    assert len(audit.entries(registry, "churn")) == 1


def test_a_retry_moves_the_alias_that_a_crash_left_behind(registry: Registry) -> None:
    _promote(registry, 1, None, "first")
    _crash_after_entry(registry, "promote", from_version=1, to_version=2, by="second")
    assert models.aliases(registry, "churn") == {"champion": 1}
    champion = promotion.champion(registry, "churn")
    assert champion is not None
    assert champion.version == 2
    _promote(registry, 2, 1, "second")
    assert models.aliases(registry, "churn") == {"champion": 2, "previous": 1}
    assert len(audit.entries(registry, "churn")) == 2


def test_another_task_finds_what_a_crashed_one_decided(registry: Registry) -> None:
    _promote(registry, 1, None, "first")
    _crash_after_entry(registry, "promote", from_version=1, to_version=2, by="second")
    with pytest.raises(PromotionConflictError, match="version 2"):
        _promote(registry, 3, 1, "third")
    assert models.aliases(registry, "churn") == {"champion": 2, "previous": 1}


def test_rollback_goes_to_previous_and_back(registry: Registry) -> None:
    _promote(registry, 1, None, "first")
    _promote(registry, 2, 1, "second")
    entry = promotion.rollback(registry, "churn", by=_task("undo"), reason="too slow")
    assert (entry.action, entry.from_version, entry.to_version) == ("rollback", 2, 1)
    assert models.aliases(registry, "churn") == {"champion": 1, "previous": 2}
    assert promotion.rollback(registry, "churn", by=_task("undo"), reason="too slow") == entry
    promotion.rollback(registry, "churn", to_version=2, by=_task("redo"), reason="it was the network")
    assert models.aliases(registry, "churn") == {"champion": 2, "previous": 1}


def test_a_rollback_takes_back_only_the_champion_that_was_seen(registry: Registry) -> None:
    _promote(registry, 1, None, "first")
    _promote(registry, 2, 1, "second")
    _promote(registry, 3, 2, "third")
    with pytest.raises(PromotionConflictError, match=r"roll back version 2 of churn.*version 3.*third"):
        promotion.rollback(registry, "churn", expected=2, by=_task("undo"), reason="drift of version 2")
    assert models.aliases(registry, "churn") == {"champion": 3, "previous": 2}
    entry = promotion.rollback(registry, "churn", expected=3, by=_task("undo"), reason="drift of version 3")
    assert (entry.from_version, entry.to_version) == (3, 2)
    # Its retry completes, although version 3 is no longer there to be seen.
    assert promotion.rollback(registry, "churn", expected=3, by=_task("undo"), reason="drift of version 3") == entry


def test_a_promotion_between_a_rollbacks_look_and_its_entry_wins(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    _promote(registry, 1, None, "first")
    _promote(registry, 2, 1, "second")
    append = audit.append

    def too_late(*arguments: Any, **keywords: Any) -> Any:
        monkeypatch.setattr(audit, "append", append)
        _promote(registry, 3, 2, "third")
        return append(*arguments, **keywords)

    monkeypatch.setattr(audit, "append", too_late)
    with pytest.raises(
        PromotionConflictError,
        match=r"change the champion of churn from version 2 to version 1.*champion is version 3",
    ):
        promotion.rollback(registry, "churn", expected=2, by=_task("undo"), reason="")
    assert models.aliases(registry, "churn") == {"champion": 3, "previous": 2}


def test_a_first_promotion_that_is_withdrawn_leaves_no_champion(registry: Registry) -> None:
    first = _promote(registry, 1, None, "first")
    entry = promotion.withdraw(registry, first, by=_task("first"), reason="it does not answer")
    assert (entry.action, entry.from_version, entry.to_version, entry.previous_version) == ("withdraw", 1, None, None)
    assert models.aliases(registry, "churn") == {}
    assert promotion.champion(registry, "churn") is None
    assert settle_aliases(registry, "churn") == entry
    with pytest.raises(InvalidSpecError, match="no previous champion"):
        promotion.rollback(registry, "churn", by=_task("undo"), reason="")
    # The same task tries again, and another version may come first as well.
    assert _promote(registry, 1, None, "first").sequence == 3
    assert models.aliases(registry, "churn") == {"champion": 1}
    with pytest.raises(PromotionConflictError, match="version 1"):
        _promote(registry, 2, None, "second")


def test_a_crash_between_the_withdrawal_and_the_alias_is_completed(registry: Registry) -> None:
    first = _promote(registry, 1, None, "first")
    _crash_after_entry(registry, "withdraw", from_version=first.to_version, to_version=None, by="first")
    assert models.aliases(registry, "churn") == {"champion": 1}
    assert promotion.champion(registry, "churn") is None
    assert _promote(registry, 2, None, "second").from_version is None
    assert models.aliases(registry, "churn") == {"champion": 2}


def test_what_was_promoted_since_is_not_withdrawn(registry: Registry) -> None:
    first = _promote(registry, 1, None, "first")
    _promote(registry, 2, 1, "second")
    with pytest.raises(PromotionConflictError, match="the champion is version 2"):
        promotion.withdraw(registry, first, by=_task("first"), reason="it does not answer")
    assert models.aliases(registry, "churn") == {"champion": 2, "previous": 1}


def test_rollback_without_a_way_back_says_so(registry: Registry) -> None:
    with pytest.raises(InvalidSpecError, match="no previous champion"):
        promotion.rollback(registry, "churn", by=_task("undo"), reason="")
    _promote(registry, 1, None)
    with pytest.raises(InvalidSpecError, match="is already the champion"):
        promotion.rollback(registry, "churn", to_version=1, by=_task("undo"), reason="")
    with pytest.raises(InvalidSpecError, match="has no version 9"):
        promotion.rollback(registry, "churn", to_version=9, by=_task("undo"), reason="")


def test_a_version_that_is_not_there_is_not_promoted(registry: Registry) -> None:
    with pytest.raises(InvalidSpecError, match="has no version 9"):
        _promote(registry, 9, None)
    assert audit.entries(registry, "churn") == []


_PROMOTER = """
import sys, time
from airflow_provider_mlops.data.task_identity import TaskIdentity
from airflow_provider_mlops.errors import PromotionConflictError
from airflow_provider_mlops.registry import promotion
from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.settings import RegistrySettings
from airflow_provider_mlops.registry.model_version import ModelVersion
from pathlib import Path
storage, version, gate = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
registry = Registry(RegistrySettings(storage))
registry.client
by = TaskIdentity(dag_id="churn", run_id="r1", task_id=f"deploy{version}")
gate.with_suffix(f".{version}").touch()
while not gate.exists():
    time.sleep(0.001)
try:
    model = ModelVersion(name="churn", version=version, run_id="")
    promotion.promote(registry, model, expected=1, by=by, reason="race")
except PromotionConflictError as error:
    print("LOST", error)
else:
    print("WON")
"""


def test_an_alias_that_another_process_has_just_made_is_moved(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    set_alias = MlflowClient.set_registered_model_alias

    def set_and_lose(client: MlflowClient, name: str, alias: str, version: str) -> None:
        monkeypatch.setattr(MlflowClient, "set_registered_model_alias", set_alias)
        set_alias(client, name, alias, "2")
        raise MlflowException("UNIQUE constraint failed: registered_model_aliases.name")

    monkeypatch.setattr(MlflowClient, "set_registered_model_alias", set_and_lose)
    _promote(registry, 1, None, "first")
    assert models.aliases(registry, "churn") == {"champion": 1}


def test_of_two_processes_that_promote_at_once_exactly_one_wins(registry: Registry, tmp_path: Path) -> None:
    _promote(registry, 1, None, "first")
    gate = tmp_path / "gate"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _PROMOTER, registry.storage_uri, str(version), str(gate)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for version in (2, 3)
    ]
    import time

    deadline = time.monotonic() + 90
    while not all(gate.with_suffix(f".{version}").exists() for version in (2, 3)):
        assert time.monotonic() < deadline
        assert all(process.poll() is None for process in processes), [process.communicate() for process in processes]
        time.sleep(0.01)
    gate.touch()
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    results = {version: output[0].split()[0] for version, output in zip((2, 3), outputs, strict=True)}
    assert sorted(results.values()) == ["LOST", "WON"]
    winner = next(version for version, result in results.items() if result == "WON")
    lost = next(output[0] for output in outputs if output[0].startswith("LOST"))
    assert f"the champion is version {winner}" in lost
    assert f"churn/r1/deploy{winner}" in lost
    assert models.aliases(registry, "churn") == {"champion": winner, "previous": 1}
    assert [entry.to_version for entry in audit.entries(registry, "churn")] == [1, winner]


def _keep(registry: Registry, rollout: str, candidate: int = 3) -> audit.AuditEntry:
    return promotion.keep(
        registry, "churn", candidates=(candidate,), by=_task("rollout"), reason="slow", rollout_id=rollout
    )


def test_a_rollout_that_leaves_the_champion_leaves_one_entry_and_moves_nothing(registry: Registry) -> None:
    _promote(registry, 1, None)
    _promote(registry, 2, 1)
    kept = _keep(registry, "a")
    assert (kept.sequence, kept.action, kept.from_version, kept.to_version) == (3, "keep", 2, 2)
    assert (kept.previous_version, kept.candidates, kept.rollout_id) == (1, (3,), "a")
    assert _keep(registry, "a") == kept
    assert _keep(registry, "b").sequence == 4
    assert models.aliases(registry, "churn") == {"champion": 2, "previous": 1}
    champion = promotion.champion(registry, "churn")
    assert champion is not None
    assert champion.version == 2


def test_what_a_rollout_leaves_hides_from_no_retry_what_it_has_done(registry: Registry) -> None:
    _promote(registry, 1, None)
    promoted = _promote(registry, 2, 1)
    _keep(registry, "a")
    assert _promote(registry, 2, 1) == promoted
    back = promotion.rollback(registry, "churn", by=_task("back"), reason="complaints")
    _keep(registry, "b")
    assert promotion.rollback(registry, "churn", by=_task("back"), reason="complaints") == back
    assert models.aliases(registry, "churn") == {"champion": 1, "previous": 2}


def test_a_promotion_is_no_conflict_with_a_rollout_that_leaves_the_champion_meanwhile(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    _promote(registry, 1, None)
    original = audit.append

    def append(*arguments: Any, **keywords: Any) -> audit.AuditEntry:
        monkeypatch.setattr(audit, "append", original)
        _keep(registry, "a")
        return original(*arguments, **keywords)

    monkeypatch.setattr(audit, "append", append)
    assert _promote(registry, 2, 1).sequence == 3
    assert models.aliases(registry, "churn") == {"champion": 2, "previous": 1}
