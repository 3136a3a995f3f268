"""Rollback against a real gateway and a real MLflow."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pydantic import SecretStr

from airflow_provider_mlops.data.task_identity import TaskIdentity
from airflow_provider_mlops.errors import InvalidSpecError, PromotionConflictError
from airflow_provider_mlops.lifecycle.rollback.spec import RollbackSpec
from airflow_provider_mlops.lifecycle.rollback.step import rollback
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.registry import audit
from tests.helpers.serving.live_gateway import LiveGateway
from tests.helpers.serving.live_model import train, with_task
from tests.helpers.serving.live_versions import Versions, answers


def roll_back(versions: Versions, run_id: str = "rollback 1", **fields: object) -> tuple[int, int | None]:
    workspace = with_task(versions.workspace, "rollback", run_id)
    found = rollback(RollbackSpec(model_name=versions.name, **fields), workspace).deployment  # type: ignore[arg-type]
    return found.version, found.previous_version


def test_a_rollback_takes_effect_with_the_next_request_and_is_recorded(
    versions: Versions, gateway: LiveGateway
) -> None:
    versions.deploy(1)
    versions.deploy(2)
    versions.registry.client.search_registered_models()
    assert roll_back(versions, reason="customers complain") == (1, 2)
    assert answers(gateway, versions.name) == 1
    assert versions.trail()[-1] == ("rollback", 2, 1)
    assert audit.entries(versions.registry, versions.name)[-1].reason == "customers complain"
    assert versions.aliases() == {"champion": 1, "previous": 2}


def test_a_rollback_that_is_run_again_does_not_roll_back_once_more(versions: Versions, gateway: LiveGateway) -> None:
    versions.deploy(1)
    versions.deploy(2)
    assert roll_back(versions) == roll_back(versions) == (1, 2)
    assert len(versions.trail()) == 3
    assert roll_back(versions, "rollback 2") == (2, 1)
    assert answers(gateway, versions.name) == 2


def test_a_rollback_to_a_named_version(versions: Versions, gateway: LiveGateway) -> None:
    for number in (1, 2, 3):
        versions.deploy(number)
    assert roll_back(versions, to_version=1) == (1, 3)
    assert answers(gateway, versions.name) == 1


def test_a_rollback_of_a_champion_that_is_champion_no_longer(versions: Versions, gateway: LiveGateway) -> None:
    for number in (1, 2, 3):
        versions.deploy(number)
    with pytest.raises(PromotionConflictError, match=r"roll back version 2 of .*, because .* is version 3"):
        roll_back(versions, expected_champion=2)
    assert answers(gateway, versions.name) == 3
    assert roll_back(versions, expected_champion=3) == (2, 3)


def test_rollbacks_that_cannot_be(versions: Versions) -> None:
    versions.deploy(1)
    with pytest.raises(InvalidSpecError, match="no previous champion"):
        roll_back(versions)
    with pytest.raises(InvalidSpecError, match="has no version 9"):
        roll_back(versions, to_version=9)
    with pytest.raises(InvalidSpecError, match=r"version 1 .*is already the champion"):
        roll_back(versions, to_version=1)
    assert len(versions.trail()) == 1


def test_a_rollback_while_the_gateway_is_away_takes_effect_when_it_is_back(
    tmp_path: Path, mlflow_database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copy(mlflow_database, tmp_path / "mlflow.db")
    task = TaskIdentity(dag_id="churn", run_id="manual__1", task_id="deploy")
    with LiveGateway(tmp_path) as gateway:
        workspace = Workspace(storage_uri=str(tmp_path), task=task, gateway_url=gateway.url)
        versions = Versions(workspace, train(workspace), "away")
        versions.deploy(1)
        versions.deploy(2)
        gateway.kill()
        with caplog.at_level("WARNING"):
            assert roll_back(versions) == (1, 2)
        assert "will pick up the alias when it is back" in caplog.text
        assert versions.aliases()["champion"] == 1
        gateway.start()
        gateway.wait_until_ready()
        assert answers(gateway, versions.name) == 1


def test_a_wrong_key_is_named_and_the_alias_moves_all_the_same(versions: Versions, gateway: LiveGateway) -> None:
    versions.deploy(1)
    versions.deploy(2)
    wrong = versions.workspace.model_copy(update={"secrets": {"gateway_key": SecretStr("wrong")}})
    with pytest.raises(InvalidSpecError, match=r"gateway_conn_id=.*The alias has already moved"):
        rollback(RollbackSpec(model_name=versions.name), with_task(wrong, "rollback"))
    gateway.wait(lambda: answers(gateway, versions.name) == 1, seconds=10)
