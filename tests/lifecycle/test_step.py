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
from airflow_provider_mlops.lifecycle.step import Result, Spec, load
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.step_names import STEPS


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
    assert step.function.__name__ == name
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
    with pytest.raises(InvalidSpecError, match=r"step='trian': .*Did you mean 'train'"):
        load("trian")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"target": None}, r"target=None: it must be a string\. A template or an XCom without a value gives None\.$"),
        ({"seed": "many"}, r"seed='many': it must be a whole number\.$"),
        ({"sed": 3}, r"sed=3: it is not a field of PrepareSpec\. Did you mean 'seed'\?$"),
        ({"xyz": 3}, r"xyz=3: it is not a field of PrepareSpec\. Use one of 'dataset', 'target', 'split', 'seed'"),
        ({"split": {"method": "random", "tset": 0.3}}, r"split\.tset=0\.3: .* of Split\. Did you mean 'test'\?$"),
        ({"split": "random"}, r"split='random': it must be a mapping of the fields method, column, validation, test"),
        ({"filters": "age > 3"}, r"filters='age > 3': it must be a list of values, for example \['age > 3'\]\.$"),
        ({"filters": ["age > 3", 4]}, r"filters\.1=4: it must be a string\.$"),
        ({"split": None}, r"split=None: .* A template or an XCom without a value gives None\.$"),
        ({"split": {"test": 1.5}}, r"split\.test=1\.5: it must be less than 1\.$"),
        ({"split": {"test": -0.5}}, r"split\.test=-0\.5: it must be at least 0\.$"),
        ({"split": {"test": "half"}}, r"split\.test='half': it must be a number\.$"),
        ({"split": {"method": "group"}}, r"split\.column=None: .*'group' requires a column"),
        ({"split": {"method": "groups"}}, r"split\.method='groups': it must be 'random', .*Did you mean 'group'\?$"),
        ({"reuse": "perhaps"}, r"reuse='perhaps': it must be True or False\.$"),
        ({"features": "no_module"}, r"features='no_module': .*'package\.module:function'"),
        ({"features": lambda table: table}, r"features=<function .*: .*lambda"),
        ({"dataset": {"uri": "/a"}}, r"dataset\.name=None: it is required\.$"),
    ],
)
def test_a_wrong_field_is_named(dataset: Dataset, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpecError, match=message):
        load("prepare").parse({"dataset": dataset, "target": "target", **fields})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"source": "rows.csv"},
            r"source='rows\.csv': it must be a mapping whose kind is one of 'sql', 'files', 'ibis',",
        ),
        (
            {"source": {}},
            r"source\.kind=None: it is required\. Set it to one of 'sql', 'files', 'ibis', 'sklearn', 'code'",
        ),
        ({"source": {"kind": "sqll"}}, r"source\.kind='sqll': it must be one of 'sql', .*Did you mean 'sql'\?$"),
        ({"source": {"kind": "sql", "query": "SELECT 1"}}, r"source\.connection=None: it is required\.$"),
        (
            {"source": {"kind": "sklearn", "nam": "iris"}},
            r"source\.nam='iris': .* of SklearnSource\. Did you mean 'name'\?",
        ),
        ({"source": {"kind": "sql", "query": " ;", "connection": "c"}}, r"source\.query=' ;': .*SELECT"),
        ({"source": {"kind": "files", "paths": 3}}, r"source\.paths=3: it must be a string or a list of values\.$"),
        (
            {"source": {"kind": "sklearn"}, "freshness": {"column": "at", "max_age": "soon"}},
            r"freshness\.max_age='soon': it must be a duration: .* 'P1D'",
        ),
        (
            {"source": {"kind": "sklearn"}, "freshness": {"column": "at", "max_age": -1}},
            r"freshness\.max_age=.*: it must be greater than 0 seconds\.$",
        ),
    ],
)
def test_a_field_of_one_of_several_kinds_is_named_as_it_is_written(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpecError, match=message):
        load("extract").parse({"dataset_name": "rows", **fields})


def test_a_misspelled_field_is_named_before_the_one_that_is_missing() -> None:
    with pytest.raises(
        InvalidSpecError, match=r"dataset_nam='rows': .* of ExtractSpec\. Did you mean 'dataset_name'\?$"
    ):
        load("extract").parse({"dataset_nam": "rows", "source": {"kind": "sklearn"}})


def test_specs_are_frozen_and_have_a_digest(dataset: Dataset) -> None:
    step = load("prepare")
    spec = step.parse({"dataset": dataset, "target": "target"})
    roundtrip = step.spec.model_validate_json(spec.model_dump_json())
    assert roundtrip == spec
    assert roundtrip.digest == spec.digest
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
    request_file, result_file = tmp_path / "request.json", tmp_path / "result.json"
    request_file.write_text(json.dumps(request(dataset, workspace)))
    assert main([str(request_file), str(result_file)]) == 0
    result = load("prepare").result.model_validate(json.loads(result_file.read_text())["result"])
    assert result.train.rows + result.validation.rows + result.test.rows == 100
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert any(line["message"].startswith("Prepared rows in") and line["level"] == "INFO" for line in lines)


@pytest.mark.usefixtures("own_logging")
def test_the_command_writes_errors_and_defects(dataset: Dataset, workspace: Workspace, tmp_path: Path) -> None:
    request_file, result_file = tmp_path / "request.json", tmp_path / "result.json"
    request_file.write_text(json.dumps(request(dataset, workspace, drop=["nothing"])))
    assert main([str(request_file), str(result_file)]) == 1
    assert json.loads(result_file.read_text())["error"]["type"] == "InvalidSpecError"
    result_file.unlink()
    request_file.write_text(json.dumps({"step": "prepare"}))
    assert main([str(request_file), str(result_file)]) == 2
    assert not result_file.exists()
    assert main([]) == 2


def test_a_request_from_another_version_is_logged_as_a_warning(
    dataset: Dataset, workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    run_step({**request(dataset, workspace), "version": "0.0.1"})
    assert "0.0.1" in caplog.text
    assert f"This environment has airflow-provider-mlops {__version__}" in caplog.text


def raise_a_base_error(table: Any) -> Any:
    raise MlopsError("a kind that cannot be sent")


def test_an_error_that_cannot_be_sent_is_a_defect(dataset: Dataset, workspace: Workspace) -> None:
    outcome = run_step(request(dataset, workspace, features=raise_a_base_error))
    assert outcome == {"defect": {"type": "MlopsError", "message": "a kind that cannot be sent"}}


def test_a_workspace_as_json_holds_no_secret(workspace: Workspace) -> None:
    with_secret = workspace.model_copy(update={"secrets": {"gateway_key": SecretStr("s3cr3t")}})
    assert "s3cr3t" not in with_secret.model_dump_json() + repr(with_secret)
    assert list(with_secret.environment().values()) == ["s3cr3t"]
