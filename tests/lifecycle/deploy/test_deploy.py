"""Deployment and rollback against a real gateway and a real MLflow."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from airflow_provider_mlops.errors import (
    BackendUnavailableError,
    InvalidSpecError,
    MlopsError,
    PromotionConflictError,
    RejectedError,
)
from airflow_provider_mlops.lifecycle.deploy import check
from airflow_provider_mlops.lifecycle.deploy.spec import DeployResult, DeploySpec
from airflow_provider_mlops.lifecycle.deploy.step import deploy
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.registry import audit, models, promotion
from airflow_provider_mlops.registry.model_version import ModelVersion
from airflow_provider_mlops.serving.client.client import GatewayClient
from tests.helpers.serving.live_gateway import LiveGateway
from tests.helpers.serving.live_model import train, with_task
from tests.helpers.serving.live_versions import Versions, answers


def test_the_first_and_the_second_deployment(versions: Versions, gateway: LiveGateway) -> None:
    first = versions.deploy(1, reason="first of all")
    assert first.deployment.model_dump() == {
        "model_name": versions.name,
        "version": 1,
        "previous_version": None,
        "endpoint_url": f"{gateway.url}/v2/models/{versions.name}/infer",
        "audit_sequence": 1,
    }
    assert first.model == versions[1]
    second = versions.deploy(2)
    assert (second.deployment.version, second.deployment.previous_version) == (2, 1)
    assert versions.aliases() == {"champion": 2, "previous": 1}
    assert answers(gateway, versions.name) == 2
    entries = audit.entries(versions.registry, versions.name)
    assert versions.trail() == [("promote", None, 1), ("promote", 1, 2)]
    assert entries[0].reason == "first of all"
    assert entries[0].by.owner == "ada"
    assert entries[1].reason == "deployed by churn/run 2/deploy"


def test_a_deployment_that_is_run_again_changes_nothing(versions: Versions, gateway: LiveGateway) -> None:
    versions.deploy(1)
    versions.deploy(2, check_champion=False)
    again = versions.deploy(2, expected_champion=1)
    assert again.deployment.audit_sequence == 2
    assert again.deployment.previous_version == 1
    assert versions.trail() == [("promote", None, 1), ("promote", 1, 2)]
    assert answers(gateway, versions.name) == 2


class Killed(BaseException):
    """Stands for the end of the process: no handler for errors catches it."""


POINTS = {
    "before the gateway loads": (GatewayClient, "load", False),
    "after the gateway loaded": (GatewayClient, "load", True),
    "before the audit entry": (audit, "append", False),
    "between the audit entry and the alias": (audit, "append", True),
    "before the gateway activates": (GatewayClient, "activate", False),
    "after the gateway activated": (GatewayClient, "activate", True),
}


@pytest.mark.parametrize("point", POINTS)
def test_killed_anywhere_and_tried_again_there_is_one_deployment(
    point: str, base: Workspace, trained: ModelVersion, gateway: LiveGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = Versions(base, trained, point)
    versions.deploy(1)
    owner, name, after = POINTS[point]
    original = getattr(owner, name)

    def die(*arguments: object, **keywords: object) -> None:
        if after:
            original(*arguments, **keywords)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(owner, name, die)
        with pytest.raises(Killed):
            versions.deploy(2)
    result = versions.deploy(2)
    assert versions.trail() == [("promote", None, 1), ("promote", 1, 2)]
    assert versions.aliases() == {"champion": 2, "previous": 1}
    assert result.deployment.audit_sequence == 2
    assert answers(gateway, versions.name) == 2


KILLED_AFTER_THE_DECISION = """
import os, signal, sys
from airflow_provider_mlops.lifecycle.deploy.spec import DeploySpec
from airflow_provider_mlops.lifecycle.deploy.step import deploy
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.registry import audit
original = audit.append
def append(*arguments, **keywords):
    original(*arguments, **keywords)
    os.kill(os.getpid(), signal.SIGKILL)
audit.append = append
deploy(DeploySpec.model_validate_json(sys.argv[1]), Workspace.model_validate_json(sys.argv[2]))
"""


def test_a_process_that_is_killed_with_sigkill(versions: Versions, gateway: LiveGateway) -> None:
    versions.deploy(1)
    spec = DeploySpec(model=versions[2])
    workspace = with_task(versions.workspace, "deploy", "run 2")
    command = [sys.executable, "-c", KILLED_AFTER_THE_DECISION, spec.model_dump_json(), workspace.model_dump_json()]
    killed = subprocess.run(command, capture_output=True, timeout=120, env={**os.environ})
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    assert versions.trail()[-1] == ("promote", 1, 2)
    assert versions.aliases()["champion"] == 1
    assert deploy(spec, workspace).deployment.audit_sequence == 2
    assert versions.aliases() == {"champion": 2, "previous": 1}
    assert answers(gateway, versions.name) == 2


def test_the_champion_that_was_compared_with_must_still_be_it(versions: Versions, gateway: LiveGateway) -> None:
    versions.deploy(1)
    versions.deploy(2)
    with pytest.raises(PromotionConflictError, match=r"compared with version 1 .*, but version 2 is champion now"):
        versions.deploy(3, expected_champion=1)
    assert versions.trail()[-1] == ("promote", 1, 2)
    assert answers(gateway, versions.name) == 2
    assert versions.deploy(3, expected_champion=1, check_champion=False).deployment.previous_version == 2


def test_without_a_given_champion_the_evaluation_says_which(
    base: Workspace, trained: ModelVersion, gateway: LiveGateway
) -> None:
    evaluated = train(base, "evaluated", evaluated=True)
    rival = train(base, "evaluated", run_id="manual__2")
    promotion.promote(base.registry(), rival, expected=None, by=base.task, reason="in between")
    with pytest.raises(PromotionConflictError, match=r"compared with no champion .*, but version 2 is champion"):
        deploy(DeploySpec(model=evaluated), with_task(base, "deploy"))


def test_of_two_deployments_at_once_one_wins(versions: Versions, gateway: LiveGateway) -> None:
    versions.deploy(1)
    outcomes: dict[int, object] = {}
    together = threading.Barrier(2)
    original = audit.append

    def append(*arguments: object, **keywords: object) -> audit.AuditEntry:
        together.wait(30)
        return original(*arguments, **keywords)  # type: ignore[arg-type]

    def run(number: int) -> None:
        try:
            outcomes[number] = versions.deploy(number, expected_champion=1)
        except MlopsError as error:
            outcomes[number] = error

    audit.append = append
    try:
        threads = [threading.Thread(target=run, args=(number,)) for number in (2, 3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    finally:
        audit.append = original
    winner = versions.trail()[-1][2]
    assert len(versions.trail()) == 2
    assert isinstance(outcomes[winner], DeployResult)
    lost = outcomes[5 - winner]
    assert isinstance(lost, PromotionConflictError)
    assert f"run {winner}" in str(lost)
    assert answers(gateway, versions.name) == winner


def test_a_candidate_that_answers_otherwise_is_not_deployed(
    versions: Versions, gateway: LiveGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions.deploy(1)
    original = GatewayClient.infer

    def infer(self: GatewayClient, *arguments: Any, **keywords: Any) -> Any:
        answer = original(self, *arguments, **keywords)
        answer.output[0] = "no" if answer.output[0] == "yes" else "yes"
        return answer

    monkeypatch.setattr(GatewayClient, "infer", infer)
    with pytest.raises(RejectedError, match=r"returns the predictions \[.*and the packaged model returns \["):
        versions.deploy(2)
    monkeypatch.undo()
    assert versions.trail() == [("promote", None, 1)]
    assert answers(gateway, versions.name) == 1


def test_probabilities_must_agree_too(trained: ModelVersion, base: Workspace, gateway: LiveGateway) -> None:
    expected = check.expected_predictions(base.registry(), trained)
    assert expected.probabilities is not None
    assert expected.rows > 1
    shifted = check.replace(expected, probabilities=expected.probabilities + 1e-4)
    with gateway.client() as client:
        client.load(trained.name, trained.version)
        check.verify(client, trained, expected, trained.version)
        with pytest.raises(RejectedError, match="probabilities"):
            check.verify(client, trained, shifted, trained.version)


def test_a_gateway_that_refuses_to_activate_brings_the_alias_back(
    versions: Versions, gateway: LiveGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions.deploy(1)
    original = GatewayClient.activate

    def activate(self: GatewayClient, name: str, version: int, **options: Any) -> dict[str, object]:
        if version == 2:
            raise RejectedError("version 2 cannot be activated")
        return original(self, name, version, **options)

    monkeypatch.setattr(GatewayClient, "activate", activate)
    with pytest.raises(RejectedError, match=r"version 2 cannot be activated. Version 1 is the champion again"):
        versions.deploy(2)
    monkeypatch.undo()
    assert versions.trail() == [("promote", None, 1), ("promote", 1, 2), ("rollback", 2, 1)]
    assert audit.entries(versions.registry, versions.name)[-1].reason.startswith("deployment failed: version 2")
    assert versions.aliases()["champion"] == 1
    time.sleep(1)  # several polls of the gateway
    assert answers(gateway, versions.name) == 1
    # Once the cause is gone, the same task may be cleared and deploys.
    assert versions.deploy(2, expected_champion=1).deployment.audit_sequence == 4


@pytest.mark.parametrize("told", [True, False])
def test_a_first_deployment_that_fails_is_withdrawn(
    versions: Versions, gateway: LiveGateway, monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    activate = GatewayClient.activate

    def fail(self: GatewayClient, *arguments: Any, **keywords: Any) -> None:
        activate(self, *arguments, **keywords)
        raise RejectedError("it answers otherwise")

    def vanish(*arguments: object, **keywords: object) -> None:
        raise BackendUnavailableError("the gateway", gateway.url, "connection refused")

    with monkeypatch.context() as patched:
        patched.setattr(GatewayClient, "activate", fail)
        if not told:
            patched.setattr(GatewayClient, "deactivate", vanish)
        with pytest.raises(RejectedError, match="The model had no champion before, and has none now"):
            versions.deploy(1)
    assert versions.aliases() == {}
    assert versions.trail() == [("promote", None, 1), ("withdraw", 1, None)]
    assert "it answers otherwise" in audit.entries(versions.registry, versions.name)[-1].reason
    with gateway.client() as client:
        # A gateway that could not be told sees that the alias is gone.
        gateway.wait(lambda: client.model(versions.name)["active"] is None, seconds=0.2 if told else 20)
    # The same task may be cleared once the cause is gone.
    assert versions.deploy(1).deployment.audit_sequence == 3
    assert versions.trail()[-1] == ("promote", None, 1)
    assert versions.aliases() == {"champion": 1}
    assert answers(gateway, versions.name) == 1


def test_a_first_deployment_that_fails_leaves_what_somebody_else_promoted(
    versions: Versions, gateway: LiveGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    withdraw = promotion.withdraw

    def too_late(*arguments: Any, **keywords: Any) -> Any:
        by = with_task(versions.workspace, "deploy", "quicker").task
        promotion.promote(versions.registry, versions[2], expected=1, by=by, reason="quicker")
        return withdraw(*arguments, **keywords)

    def refuse(*arguments: object, **keywords: object) -> None:
        raise RejectedError("it cannot be activated")

    with monkeypatch.context() as patched:
        patched.setattr(GatewayClient, "activate", refuse)
        patched.setattr(promotion, "withdraw", too_late)
        with pytest.raises(RejectedError, match="someone has moved it in the meantime"):
            versions.deploy(1)
    assert versions.trail() == [("promote", None, 1), ("promote", 1, 2)]
    assert versions.aliases()["champion"] == 2


def test_a_gateway_that_goes_away_after_the_decision_is_retried(
    versions: Versions, gateway: LiveGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions.deploy(1)

    def vanish(*arguments: object, **keywords: object) -> None:
        raise BackendUnavailableError("the gateway", gateway.url, "connection refused")

    with monkeypatch.context() as patched:
        patched.setattr(GatewayClient, "activate", vanish)
        with pytest.raises(BackendUnavailableError):
            versions.deploy(2)
    assert versions.aliases()["champion"] == 2
    assert versions.deploy(2).deployment.audit_sequence == 2
    assert answers(gateway, versions.name) == 2


def test_the_checks_are_logged_and_count_as_nobodys_traffic(versions: Versions, gateway: LiveGateway) -> None:
    from airflow_provider_mlops.serving.log import prediction_log

    versions.deploy(1)
    logged = prediction_log.read(str(gateway.storage), versions.name)
    arms = logged.group_by("arm").aggregate(n=logged.count()).to_pyarrow().to_pylist()
    example = models.input_example(versions.registry, versions[1])
    assert {row["arm"]: row["n"] for row in arms} == {"verification": len(example) + 1}


def test_errors_that_name_what_is_wrong(versions: Versions, tmp_path: Path) -> None:
    missing = ModelVersion(name=versions.name, version=77, run_id="r")
    with pytest.raises(InvalidSpecError, match="has no version 77"):
        deploy(DeploySpec(model=missing), versions.workspace)
    spec = DeploySpec(model=versions[1])
    with pytest.raises(InvalidSpecError, match=r"gateway_url=None.*mlops_gateway_default"):
        deploy(spec, versions.workspace.model_copy(update={"gateway_url": None}))
    wrong = versions.workspace.model_copy(update={"secrets": {"gateway_key": SecretStr("wrong")}})
    with pytest.raises(InvalidSpecError, match=r"gateway_conn_id=.*key is not valid.*password of the connection"):
        deploy(spec, wrong)
    away = versions.workspace.model_copy(update={"gateway_url": "http://127.0.0.1:9"})
    with pytest.raises(
        BackendUnavailableError, match=r"gateway at http://127.0.0.1:9 is unavailable.*airflow-mlops serve"
    ):
        deploy(spec, away)
    no_mlflow = versions.workspace.model_copy(update={"tracking_uri": "http://127.0.0.1:9"})
    with pytest.raises(BackendUnavailableError, match=r"MLflow at http://127.0.0.1:9 is unavailable"):
        deploy(spec, no_mlflow)
    assert versions.trail() == []


def test_a_model_without_an_input_example_is_refused(base: Workspace, trained: ModelVersion) -> None:
    registry = base.registry()
    client = registry.client
    source = models.artifact_uri(registry, trained)
    bare = Path(str(source).removeprefix("file://")).parent / "bare"
    shutil.copytree(str(source).removeprefix("file://"), bare)
    for file in bare.glob("*example*"):
        file.unlink()
    text = (bare / "MLmodel").read_text()
    kept, skipping = [], False
    for line in text.splitlines():
        skipping = line.startswith("saved_input_example_info") or (skipping and line.startswith(" "))
        if not skipping:
            kept.append(line)
    (bare / "MLmodel").write_text("\n".join(kept))
    client.create_registered_model("bare")
    client.create_model_version("bare", f"file://{bare}", trained.run_id)
    with pytest.raises(InvalidSpecError, match="input example"):
        deploy(DeploySpec(model=models.get(registry, "bare", 1)), with_task(base, "deploy", "bare"))
