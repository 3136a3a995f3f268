"""Every example DAG, as it is in `dags/`, run to its end with `dag.test()`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_mlops.registry import models
from airflow_provider_mlops.registry.connection import Registry
from airflow_provider_mlops.registry.settings import RegistrySettings
from tests.helpers.serving.live_gateway import LiveGateway

DAGS = Path(__file__).resolve().parents[2] / "dags"
FILES = sorted(path for path in DAGS.rglob("*.py") if not path.name.startswith("_"))


@pytest.fixture
def run_example(run_dag: Callable[..., Any], gateway: LiveGateway) -> Callable[..., Any]:
    def run(name: str, **options: Any) -> Any:
        (dag,) = load(DAGS / name).values()
        return run_dag(dag, **options)

    return run


def load(path: Path) -> dict[str, Any]:
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # Airflow 3.1
        from airflow.models.dagbag import DagBag

    bag = DagBag(dag_folder=str(path))
    assert not bag.import_errors, bag.import_errors
    return dict(bag.dags)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_is_made_to_be_read(airflow_database: None, path: Path) -> None:
    (dag,) = load(path).values()
    assert dag.doc_md
    assert dag.description
    assert "mlops" in dag.tags
    assert f"`{dag.dag_id}` | " in (DAGS / "README.md").read_text()
    ours = [task for task in dag.tasks if type(task).__module__.startswith("airflow_provider_mlops")]
    assert ours
    if path.parent.name.startswith("level"):
        assert all(task.doc_md for task in ours)
    if path.parent.name == "rollouts":
        # One screen, with the operator on it; the form of a cohort takes a few lines more.
        assert len(path.read_text().splitlines()) <= (60 if "cohort" in path.read_text() else 45)
        assert {"model_name", "bake_time"} <= set(dag.params)


def test_level_1_ends_with_a_monitored_champion(run_example: Callable[..., Any], gateway: LiveGateway) -> None:
    ran = run_example("level_1/train_and_deploy.py")
    assert ran.state == "success"
    model = ran.xcoms("deploy")["model"]
    assert model["version"] == 1
    assert ran.xcoms("evaluate")["metrics"]["accuracy"] > ran.xcoms("evaluate")["baseline"]["accuracy"]
    assert ran.xcoms("monitor")["rows"] == ran.xcoms("replay")["return_value"]
    assert ran.xcoms("monitor")["verdict"] == "ok"
    with gateway.client() as client:
        (served,) = client.models()
    assert served["name"] == "churn"


def test_a_challenger_is_trained_and_not_deployed(run_example: Callable[..., Any], gateway: LiveGateway) -> None:
    champion = run_example("level_1/train_and_deploy.py").xcoms("deploy")["model"]
    ran = run_example("level_1/train_challenger.py")
    assert ran.state == "success"
    assert ran.xcoms("validate")["champion_version"] == champion["version"]
    assert ran.xcoms("evaluate")["metrics"]["accuracy"] > ran.xcoms("evaluate")["champion"]["accuracy"] + 0.01
    aliases = models.aliases(Registry(RegistrySettings(str(gateway.storage))), "churn")
    assert aliases == {"champion": champion["version"], "challenger": champion["version"] + 1}
    with gateway.client() as client:
        (served,) = client.models()
    assert served["active"] == champion["version"]


def test_level_1_takes_what_the_form_gives(run_example: Callable[..., Any]) -> None:
    form = {
        "source": {"kind": "sklearn", "name": "wine"},
        "target": "target",
        "model_name": "wines",
        "estimator": "sklearn.ensemble.RandomForestClassifier",
        "parameters": {"n_estimators": 20},
        "min_accuracy": 0.6,
        "seed": 7,
    }
    ran = run_example("level_1/train_and_deploy.py", run_conf=form)
    assert ran.state == "success"
    assert ran.xcoms("deploy")["model"]["name"] == "wines"


def test_level_1_stops_at_a_threshold_that_is_not_met(run_example: Callable[..., Any], gateway: LiveGateway) -> None:
    ran = run_example("level_1/train_and_deploy.py", run_conf={"min_accuracy": 1.0, "parameters": {"max_iter": 1}})
    assert ran.states()["validate"] == "failed"
    assert ran.states()["deploy"] == "upstream_failed"
    with gateway.client() as client:
        assert client.models() == []


def test_one_operator_in_a_dag_that_was_there_before(run_example: Callable[..., Any]) -> None:
    ran = run_example("existing/diabetes_weekly.py")
    assert ran.state == "success"
    assert ran.xcoms("check_features")["expectations"] == 4
    assert 0.3 < ran.xcoms("train")["return_value"] < 0.7


def test_the_rollback_form_returns_to_the_version_before_or_to_a_named_one(
    run_example: Callable[..., Any], gateway: LiveGateway
) -> None:
    from airflow_provider_mlops.data.task_identity import TaskIdentity
    from airflow_provider_mlops.registry import audit, promotion
    from tests.helpers.serving.served_registry import CANCER, cancer_model, register

    registry = Registry(RegistrySettings(str(gateway.storage)))
    by = TaskIdentity(dag_id="deploy", run_id="r1", task_id="deploy")
    made = [register(registry, "cancer", cancer_model(1.0), CANCER, f"r{number}") for number in range(3)]
    for expected, version in zip((None, 1, 2), made, strict=True):
        promotion.promote(registry, version, expected=expected, by=by, reason="")
    for conf, champion in (({}, 2), ({"version": 3}, 3), ({"version": 1}, 1)):
        ran = run_example("operate/rollback.py", run_conf={"model_name": "cancer", "reason": "42", **conf})
        assert ran.state == "success"
        assert models.aliases(registry, "cancer")["champion"] == champion
        entry = audit.last(registry, "cancer")
        assert entry is not None
        assert (entry.action, entry.reason) == ("rollback", "by hand: 42")
    assert made[0].version == 1


def test_the_rollback_form_requires_a_reason(run_example: Callable[..., Any]) -> None:
    from airflow.sdk.exceptions import ParamValidationError

    with pytest.raises(ParamValidationError, match="reason"):
        run_example("operate/rollback.py", run_conf={"model_name": "cancer"})
