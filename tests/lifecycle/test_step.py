"""Specs, results and steps, and the command that runs one in a process of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pydantic import SecretStr

from airflow_provider_mlops import __version__
from airflow_provider_mlops.data.dataset import Dataset
from airflow_provider_mlops.data.dataset_writer import DatasetWriter
from airflow_provider_mlops.errors import InvalidSpecError, MlopsError
from airflow_provider_mlops.lifecycle.__main__ import main, run_step
from airflow_provider_mlops.lifecycle.step import STEPS, Result, Spec, load
from airflow_provider_mlops.lifecycle.workspace import Workspace


@pytest.fixture
def dataset(workspace: Workspace) -> Dataset:
    with DatasetWriter(workspace.uri("datasets", "rows"), "rows") as writer:
        writer.write(pyarrow.table({"a": [float(value) for value in range(100)], "target": [0, 1] * 50}))
        return writer.commit()


@pytest.mark.parametrize("name", STEPS)
def test_every_step_keeps_the_contract(name: str) -> None:
    step = load(name)
    words = "".join(word.title() for word in name.split("_"))
    assert step.name == name
    assert (step.spec.__name__, step.result.__name__) == (f"{words}Spec", f"{words}Result")
    assert issubclass(step.spec, Spec)
    assert issubclass(step.result, Result)
    assert step.run.__name__ == name
    undocumented = [field for field, info in step.spec.model_fields.items() if not info.description]
    assert undocumented == []
    assert step.spec.__doc__
    # Names of what every Airflow operator has already: a spec's fields become attributes of one.
    taken = {
        "owner",
        "params",
        "label",
        "output",
        "pool",
        "queue",
        "retries",
        "resources",
        "doc",
        "email",
        "deps",
        "log",
    }
    assert not taken & set(step.spec.model_fields)


def test_an_unknown_step() -> None:
    with pytest.raises(InvalidSpecError, match="step='trian': use one of extract, analyze"):
        load("trian")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"target": None}, r"target=None: input should be a valid string"),
        ({"seed": "many"}, r"seed='many': input should be a valid integer"),
        ({"sed": 3}, r"sed=3: there is no such field; did you mean seed\?"),
        ({"xyz": 3}, r"xyz=3: there is no such field; the fields are dataset, target, split, seed"),
        (
            {"split": {"method": "random", "tset": 0.3}},
            r"split\.tset=0\.3: there is no such field; did you mean test\?",
        ),
        ({"split": "random"}, r"split='random': write a mapping of the fields method, column, validation, test, key"),
        ({"filters": "age > 3"}, r"filters='age > 3': write a list of values, such as \['age > 3'\]"),
        ({"split": None}, r"split=None: .*; a template or an XCom without a value gives None"),
        ({"split": {"test": 1.5}}, r"split\.test=1\.5: input should be less than 1"),
        ({"features": "no_module"}, r"features='no_module': write it as 'package\.module:function'"),
        ({"features": lambda table: table}, r"features=<function .*: a lambda has no name"),
        ({"dataset": {"uri": "/a"}}, r"dataset\.name=None: this field is required"),
    ],
)
def test_a_wrong_field_is_named(dataset: Dataset, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpecError, match=message):
        load("prepare").parse({"dataset": dataset, "target": "target", **fields})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"source": "rows.csv"}, r"source='rows\.csv': write a mapping whose kind is one of sql, files, ibis,"),
        ({"source": {}}, r"source\.kind=None: use one of sql, files, ibis, sklearn, code"),
        ({"source": {"kind": "sqll"}}, r"source\.kind='sqll': use one of sql, files"),
        ({"source": {"kind": "sql", "query": "SELECT 1"}}, r"source\.connection=None: this field is required"),
        ({"source": {"kind": "sklearn", "nam": "iris"}}, r"source\.nam='iris': .*; did you mean name\?"),
        (
            {"source": {"kind": "sklearn"}, "freshness": {"column": "at", "max_age": "soon"}},
            r"freshness\.max_age='soon': write a number of seconds, or a duration such as 'P1D'",
        ),
    ],
)
def test_a_field_of_one_of_several_kinds_is_named_as_it_is_written(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpecError, match=message):
        load("extract").parse({"dataset_name": "rows", **fields})


def test_specs_are_frozen_and_have_a_digest(dataset: Dataset) -> None:
    step = load("prepare")
    spec = step.parse({"dataset": dataset, "target": "target"})
    again = step.spec.model_validate_json(spec.model_dump_json())
    assert again == spec
    assert again.digest == spec.digest
    assert step.parse({"dataset": dataset, "target": "target", "seed": 1}).digest != spec.digest
    with pytest.raises(ValueError, match="frozen"):
        spec.seed = 2


def request(dataset: Dataset, workspace: Workspace, **fields: Any) -> dict[str, Any]:
    spec = load("prepare").parse({"dataset": dataset, "target": "target", **fields})
    return {
        "version": __version__,
        "step": "prepare",
        "spec": spec.model_dump(mode="json"),
        "workspace": workspace.model_dump(mode="json"),
    }


@pytest.fixture
def own_logging() -> Any:
    """The command takes over the logging of its process, which here is that of the tests."""
    import logging

    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    logging.captureWarnings(False)


@pytest.mark.usefixtures("own_logging")
def test_the_command_writes_the_result(
    dataset: Dataset, workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked, answered = tmp_path / "request.json", tmp_path / "result.json"
    asked.write_text(json.dumps(request(dataset, workspace)))
    assert main([str(asked), str(answered)]) == 0
    result = load("prepare").result.model_validate(json.loads(answered.read_text())["result"])
    assert result.train.rows + result.validation.rows + result.test.rows == 100
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert any(line["message"].startswith("Prepared rows in") and line["level"] == "INFO" for line in lines)


@pytest.mark.usefixtures("own_logging")
def test_the_command_writes_errors_and_defects(dataset: Dataset, workspace: Workspace, tmp_path: Path) -> None:
    asked, answered = tmp_path / "request.json", tmp_path / "result.json"
    asked.write_text(json.dumps(request(dataset, workspace, drop=["nothing"])))
    assert main([str(asked), str(answered)]) == 1
    assert json.loads(answered.read_text())["error"]["type"] == "InvalidSpecError"
    asked.write_text(json.dumps({"step": "prepare"}))
    assert main([str(asked), str(answered)]) == 2
    assert json.loads(answered.read_text())["defect"]["type"] == "KeyError"
    assert main([]) == 2


def test_another_version_is_warned_of(dataset: Dataset, workspace: Workspace, caplog: pytest.LogCaptureFixture) -> None:
    run_step({**request(dataset, workspace), "version": "0.0.1"})
    assert f"This environment has airflow-provider-mlops {__version__}, the one that asks has 0.0.1" in caplog.text


def homeless(table: Any) -> Any:
    raise MlopsError("of no kind that travels")


def test_an_error_of_no_known_kind_is_a_defect(dataset: Dataset, workspace: Workspace) -> None:
    outcome = run_step(request(dataset, workspace, features=homeless))
    assert outcome == {"defect": {"type": "MlopsError", "message": "of no kind that travels"}}


def test_a_workspace_as_json_holds_no_secret(workspace: Workspace) -> None:
    holding = workspace.model_copy(update={"secrets": {"gateway_token": SecretStr("s3cr3t")}})
    assert "s3cr3t" not in holding.model_dump_json() + repr(holding)
    assert list(holding.environment().values()) == ["s3cr3t"]
