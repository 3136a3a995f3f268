"""Tuning with the real Optuna and MLflow: in one task, in several that share a study, and after a kill."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any

import numpy
import pandas
import pyarrow
import pytest

from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.data.dataset_writer import DatasetWriter
from airflow_provider_mlops.errors import InvalidSpecError, RejectedError
from airflow_provider_mlops.lifecycle.step import load
from airflow_provider_mlops.lifecycle.tune.journal import StorageJournal
from airflow_provider_mlops.lifecycle.tune.space import Choice, FloatRange, IntegerRange
from airflow_provider_mlops.lifecycle.tune.spec import TuneSpec
from airflow_provider_mlops.lifecycle.tune.step import tune
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.registry import models

TREE = "sklearn.tree.DecisionTreeClassifier"


@pytest.fixture(autouse=True)
def fixed_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's global settings lead nowhere, and the commit stays the same during the test."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nowhere://global")
    monkeypatch.setenv("AIRFLOW_PROVIDER_MLOPS_GIT_COMMIT", "c0ffee")


def steps(workspace: Workspace, count: int = 160, name: str = "steps") -> Dataset:
    """Rows whose class a tree of depth 3 can predict and one of depth 1 cannot."""
    features = numpy.random.default_rng(0).uniform(-1, 1, size=(count, 2))
    label = (features[:, 0] > 0) ^ (features[:, 1] > 0)
    with DatasetWriter(workspace.uri("datasets", name), name) as writer:
        writer.write(
            pyarrow.table({"a": features[:, 0], "b": features[:, 1], "day": numpy.arange(count), "label": label})
        )
        return writer.commit()


def spec_for(workspace: Workspace, **fields: Any) -> TuneSpec:
    defaults: dict[str, Any] = {
        "dataset": steps(workspace),
        "target": "label",
        "model_name": "xor",
        "search_space": {"max_depth": IntegerRange(low=1, high=6)},
        "trials": 6,
        "folds": 3,
        "metric": "accuracy",
    }
    if "code" not in fields:
        defaults["estimator"] = TREE
    return TuneSpec(**{**defaults, **fields})


def runs(workspace: Workspace) -> tuple[list[Any], list[Any]]:
    """The runs that have no parent, and the trials."""
    registry = workspace.registry()
    every = registry.client.search_runs([registry.experiment("churn")])
    return (
        [run for run in every if "mlflow.parentRunId" not in run.data.tags],
        [run for run in every if "mlflow.parentRunId" in run.data.tags],
    )


def task(workspace: Workspace, task_id: str, **fields: Any) -> Workspace:
    return workspace.model_copy(update={"task": workspace.task.model_copy(update={"task_id": task_id, **fields})})


def test_the_best_of_the_space_is_trained_and_registered(workspace: Workspace) -> None:
    result = tune(spec_for(workspace, pruner="none"), workspace)
    assert result.trials == 6
    assert result.best_value is not None
    assert result.best_value > 0.9
    assert result.best_parameters["max_depth"] > 1  # type: ignore[operator]
    assert result.model is not None
    model = models.load(workspace.registry(), result.model)
    assert model.steps[-1][1].max_depth == result.best_parameters["max_depth"]

    (parent,), trials = runs(workspace)
    assert parent.info.run_id == result.mlflow_run_id == result.model.run_id
    assert parent.info.status == "FINISHED"
    assert parent.data.params["parameters.max_depth"] == str(result.best_parameters["max_depth"])
    assert parent.data.metrics["best_accuracy"] == pytest.approx(result.best_value)
    assert len(trials) == 6
    assert {run.data.tags["mlflow.parentRunId"] for run in trials} == {parent.info.run_id}
    assert {run.data.tags["mlops.trial"] for run in trials} == {"complete"}
    best = max(trials, key=lambda run: run.data.metrics["accuracy"])
    assert best.data.metrics["accuracy"] == pytest.approx(result.best_value)
    history = workspace.registry().client.get_metric_history(best.info.run_id, "accuracy")
    assert sorted(point.step for point in history) == [0, 1, 2]


def test_the_value_of_a_trial_is_scikit_learns_cross_validation(workspace: Workspace) -> None:
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.tree import DecisionTreeClassifier

    spec = spec_for(workspace, search_space={"max_depth": Choice(values=(3,))}, trials=1, seed=5)
    result = tune(spec, workspace)
    frame = spec.dataset.arrow().to_pandas()
    expected = cross_val_score(
        DecisionTreeClassifier(max_depth=3, random_state=5),
        frame[["a", "b", "day"]].astype(float),
        frame["label"],
        cv=StratifiedKFold(3, shuffle=True, random_state=5),
        scoring="accuracy",
    ).mean()
    assert result.best_value == pytest.approx(expected)


def test_hopeless_trials_are_pruned(workspace: Workspace) -> None:
    spec = spec_for(
        workspace,
        search_space={"max_depth": IntegerRange(low=1, high=8)},
        trials=16,
        folds=4,
        seed=1,
    )
    result = tune(spec, workspace)
    _, trials = runs(workspace)
    states = [run.data.tags["mlops.trial"] for run in trials]
    assert len(states) == result.trials == 16
    assert set(states) == {"complete", "pruned"}
    pruned = next(run for run in trials if run.data.tags["mlops.trial"] == "pruned")
    history = workspace.registry().client.get_metric_history(pruned.info.run_id, "accuracy")
    assert len(history) < 4


def test_the_same_seed_finds_the_same(workspace: Workspace) -> None:
    space = {"min_samples_leaf": FloatRange(low=0.01, high=0.4, log=True)}
    results = [
        tune(
            spec_for(workspace, search_space=space, study_name=name, model_name=name, trials=4, seed=seed),
            task(workspace, name),
        )
        for name, seed in (("one", 1), ("again", 1), ("other", 2))
    ]
    assert results[0].best_parameters == results[1].best_parameters
    assert results[0].best_parameters != results[2].best_parameters


def build_tree(parameters: Any, seed: int) -> Any:
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier(random_state=seed, **parameters)


def test_user_code_is_given_the_trials_parameters(workspace: Workspace) -> None:
    result = tune(spec_for(workspace, code=build_tree, trials=3), workspace)
    assert result.model is not None
    model = models.load(workspace.registry(), result.model)
    assert model.steps[-1][1].max_depth == result.best_parameters["max_depth"]


def test_a_choice_may_be_a_list(workspace: Workspace) -> None:
    result = tune(
        spec_for(
            workspace,
            estimator="sklearn.neural_network.MLPClassifier",
            parameters={"max_iter": 20},
            search_space={"hidden_layer_sizes": Choice(values=([4], [3, 2]))},
            trials=1,
            folds=2,
        ),
        workspace,
    )
    assert result.best_parameters["hidden_layer_sizes"] in ([4], [3, 2])


def test_search_tasks_share_a_study_and_finish_registers_its_best(workspace: Workspace) -> None:
    script = (
        "import sys\n"
        "from airflow_provider_mlops.lifecycle.tune.step import TuneSpec, tune\n"
        "from airflow_provider_mlops.lifecycle.workspace import Workspace\n"
        "result = tune(TuneSpec.model_validate_json(sys.argv[1]), Workspace.model_validate_json(sys.argv[2]))\n"
        "assert result.model is None\n"
    )
    spec = spec_for(workspace, trials=8, pruner="none")
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                script,
                spec.model_copy(update={"phase": "search", "worker": worker}).model_dump_json(),
                task(workspace, "search", map_index=worker).model_dump_json(),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for worker in range(2)
    ]
    outputs = [process.communicate(timeout=250)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    result = tune(spec.model_copy(update={"phase": "finish"}), task(workspace, "finish"))
    assert result.trials == 8
    assert result.model is not None
    (parent,), trials = runs(workspace)
    assert parent.info.run_id == result.mlflow_run_id
    assert parent.info.status == "FINISHED"
    assert len(trials) == 8
    assert {run.data.tags["mlflow.parentRunId"] for run in trials} == {parent.info.run_id}
    assert len({run.info.run_name for run in trials}) == 8
    assert models.tags(workspace.registry(), result.model)["mlops.task_id"] == "finish"


def test_the_run_of_a_study_is_running_until_the_search_ends(workspace: Workspace) -> None:
    import optuna

    from airflow_provider_mlops.lifecycle.scoring.metrics import METRICS
    from airflow_provider_mlops.lifecycle.tune.study import open_study, start_trial

    def status() -> str:
        (parent,), _ = runs(workspace)
        return str(parent.info.status)

    spec = spec_for(workspace, trials=3, pruner="none", phase="search")
    study = open_study(spec, workspace, METRICS["accuracy"])
    # Another worker runs a trial during the whole search of this one.
    other = start_trial(study, 3, "another worker")
    assert other is not None
    assert tune(spec, task(workspace, "search", map_index=0)).trials == 2
    assert status() == "RUNNING"
    # A late worker that finds no trial left to start does not end it either.
    assert tune(spec, task(workspace, "search", map_index=1)).trials == 2
    assert status() == "RUNNING"
    study.tell(other, state=optuna.trial.TrialState.FAIL)
    assert tune(spec, task(workspace, "search", map_index=1)).trials == 3
    assert status() == "FINISHED"
    assert tune(spec.model_copy(update={"phase": "finish"}), task(workspace, "finish")).model is not None
    assert status() == "FINISHED"


_KILLED = """
import os, signal, sys
from airflow_provider_mlops.lifecycle.train import fitting
from airflow_provider_mlops.lifecycle.tune.spec import TuneSpec
from airflow_provider_mlops.lifecycle.tune.step import tune
from airflow_provider_mlops.lifecycle.workspace import Workspace
fit, calls = fitting.fit, []
def deadly(*arguments):
    calls.append(1)
    if len(calls) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return fit(*arguments)
fitting.fit = deadly
tune(TuneSpec.model_validate_json(sys.argv[1]), Workspace.model_validate_json(sys.argv[2]))
"""


def test_a_retry_after_a_kill_continues_the_study(workspace: Workspace) -> None:
    spec = spec_for(workspace, trials=4, pruner="none")
    arguments = [sys.executable, "-c", _KILLED, spec.model_dump_json(), workspace.model_dump_json()]
    process = subprocess.run(arguments, capture_output=True, text=True, timeout=120)
    assert process.returncode == -signal.SIGKILL, process.stderr
    result = tune(spec, task(workspace, "step", try_number=2))
    assert result.trials == 4
    (parent,), trials = runs(workspace)
    assert parent.info.status == "FINISHED"
    by_status: dict[str, list[str]] = {}
    for run in trials:
        by_status.setdefault(run.info.status, []).append(run.info.run_name)
    assert by_status["KILLED"] == ["trial 1"]
    assert sorted(by_status["FINISHED"]) == ["trial 0", "trial 2", "trial 3", "trial 4"]
    assert len(workspace.registry().client.search_model_versions("name = 'xor'")) == 1


def test_a_retry_after_the_end_keeps_the_version(workspace: Workspace) -> None:
    spec = spec_for(workspace, trials=2)
    first = tune(spec, workspace)
    assert tune(spec, task(workspace, "step", try_number=2)) == first
    assert len(runs(workspace)[1]) == 2


def build_picky(parameters: Any) -> Any:
    if parameters["max_depth"] > 3:
        raise ValueError("too deep")
    return build_tree(parameters, 0)


def test_impossible_parameters_fail_only_their_trial(workspace: Workspace) -> None:
    space = {"max_depth": IntegerRange(low=2, high=5)}
    result = tune(spec_for(workspace, code=build_picky, search_space=space, trials=10), workspace)
    assert result.trials == 10
    assert result.best_parameters["max_depth"] in (2, 3)
    _, trials = runs(workspace)
    failed = [run for run in trials if run.info.status == "FAILED"]
    assert failed
    assert {run.data.tags["mlops.trial_error"] for run in failed} == {"too deep"}


def test_a_study_without_a_complete_trial_says_why(workspace: Workspace) -> None:
    space = {"max_depth": IntegerRange(low=4, high=5)}
    with pytest.raises(RejectedError, match=r"every trial failed \(2 .*ValueError: too deep"):
        tune(spec_for(workspace, code=build_picky, search_space=space, trials=2), workspace)
    with pytest.raises(RejectedError, match=r"at least 1 is required.*phase='search'"):
        tune(spec_for(workspace, phase="finish", study_name="nobody"), workspace)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"search_space": {"max_deep": IntegerRange(low=1, high=2)}}, "Did you mean 'max_depth'"),
        ({"metric": "rmse"}, "metric='rmse'.*for regression.*Use one of accuracy"),
        ({"fold_method": "group", "fold_column": "town"}, "fold_column='town': it must be one of the features"),
        ({"folds": 50, "dataset": None}, "folds=50: .*Use fewer folds"),
        (
            {"estimator": "sklearn.svm.LinearSVC", "search_space": {"C": Choice(values=(1,))}, "metric": "roc_auc"},
            "metric='roc_auc': .*predict_proba",
        ),
    ],
)
def test_an_impossible_search_is_refused(workspace: Workspace, fields: dict[str, Any], message: str) -> None:
    if fields.get("dataset", 0) is None:
        fields = {**fields, "dataset": steps(workspace, 20, "few")}
    with pytest.raises(InvalidSpecError, match=message):
        tune(spec_for(workspace, **fields), workspace)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"search_space": {"C": {"kind": "float", "low": 2, "high": 1}}}, "low=2: .*must not be above high"),
        ({"search_space": {"C": {"kind": "float", "low": 0, "high": 1, "log": True}}}, "low=0: .*must be above 0"),
        ({"search_space": {"C": {"kind": "normal"}}}, "search_space"),
        ({"search_space": {}}, "search_space"),
        ({"metric": "acuracy"}, "metric='acuracy': .*Did you mean 'accuracy'"),
        ({"metric": "mean_error"}, "metric='mean_error': .*cannot be optimized"),
        ({"fold_method": "group"}, "fold_column=None"),
        ({"trials": 0}, "trials=0"),
    ],
)
def test_an_invalid_spec_is_refused_before_it_runs(workspace: Workspace, fields: dict[str, Any], message: str) -> None:
    good = spec_for(workspace).model_dump(mode="json")
    with pytest.raises(InvalidSpecError, match=message):
        load("tune").parse({**good, **fields})


def test_a_study_is_not_continued_with_another_metric_or_space(workspace: Workspace) -> None:
    tune(spec_for(workspace, trials=1, study_name="mine"), workspace)
    with pytest.raises(InvalidSpecError, match=r"metric='f1': .*started with the metric accuracy"):
        tune(spec_for(workspace, trials=2, study_name="mine", metric="f1"), task(workspace, "b"))
    space = {"max_depth": Choice(values=(1, 2))}
    with pytest.raises(InvalidSpecError, match=r"started with another search space.*another study_name"):
        tune(spec_for(workspace, trials=2, study_name="mine", search_space=space), task(workspace, "c"))


def test_folds_keep_groups_together_and_time_in_order(workspace: Workspace) -> None:
    from airflow_provider_mlops.lifecycle.train.rows import Rows
    from airflow_provider_mlops.lifecycle.tune.search import split_rows

    frame = pandas.DataFrame({"day": numpy.arange(30)[::-1], "home": numpy.arange(30) % 7})
    rows = Rows(frame, numpy.arange(30) % 2)
    for fitted, measured in split_rows(
        spec_for(workspace, fold_method="time", fold_column="day"), rows, "classification"
    ):
        assert frame["day"].iloc[fitted].max() < frame["day"].iloc[measured].min()
    for fitted, measured in split_rows(
        spec_for(workspace, fold_method="group", fold_column="home"), rows, "classification"
    ):
        assert not set(frame["home"].iloc[fitted]) & set(frame["home"].iloc[measured])
    covered = numpy.concatenate([measured for _, measured in split_rows(spec_for(workspace), rows, "classification")])
    assert sorted(covered) == list(range(30))


def test_two_writers_of_a_journal_lose_nothing(tmp_path: Any) -> None:
    import threading

    writers = [StorageJournal(str(tmp_path / "journal")) for _ in range(3)]

    def write(number: int) -> None:
        for index in range(20):
            writers[number].append_logs([{"writer": number, "index": index}])

    threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records = list(StorageJournal(str(tmp_path / "journal")).read_logs(0))
    assert len(records) == 60
    for number in range(3):
        assert [record["index"] for record in records if record["writer"] == number] == list(range(20))
    assert list(writers[0].read_logs(55)) == records[55:]
