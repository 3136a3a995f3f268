"""Model files that somebody has written to run code: none of them is loaded, whatever it says of itself."""

from __future__ import annotations

import builtins
import code
import ctypes
import functools
import importlib
import json
import operator
import os
import pickle
import pty
import runpy
import shutil
import socket
import subprocess
import types
import urllib.request
import webbrowser
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import numpy
import pandas
import pytest
import setuptools._distutils.spawn
import sklearn.datasets
import skops.io
import yaml
from mlflow.models import Model
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from airflow_provider_mlops.errors import BackendUnavailableError, InvalidSpecError
from airflow_provider_mlops.lifecycle.deploy.check import expected_predictions
from airflow_provider_mlops.lifecycle.workspace import Workspace
from airflow_provider_mlops.registry import models, packaging, registration, type_approval
from airflow_provider_mlops.registry.run import open_run
from airflow_provider_mlops.serving.models.loaded_model import LoadedModel

FEATURES = pandas.DataFrame({"a": [0.0, 1.0, 2.0, 3.0], "b": [1.0, 0.0, 1.0, 0.0]})

FUNCTIONS: tuple[Callable[..., Any], ...] = (
    os.system,
    os.remove,
    os.popen,
    os.execvp,
    subprocess.call,
    subprocess.check_output,
    shutil.rmtree,
    builtins.eval,
    builtins.exec,
    builtins.open,
    builtins.__import__,
    builtins.getattr,
    importlib.import_module,
    pickle.loads,
    cloudpickle.loads,
    joblib.load,
    runpy.run_path,
    pty.spawn,
    code.interact,
    ctypes.CDLL,
    socket.create_connection,
    urllib.request.urlopen,
    webbrowser.open,
    types.FunctionType,
    setuptools._distutils.spawn.spawn,
    numpy.load,
    numpy.fromfile,
    pandas.read_pickle,
    pandas.eval,
    sklearn.datasets.load_files,
    operator.methodcaller,
)


def saved(directory: Path) -> Path:
    """A model's directory as the train step writes it."""
    model = make_pipeline(LogisticRegression()).fit(FEATURES, [0, 1, 1, 1])
    packaging.save(model, str(directory), Model(), FEATURES)
    return directory


def replace(directory: Path, model: Any) -> None:
    """Put another object into the model's file, and all its types into the list that is saved with it."""
    path = directory / "model.skops"
    skops.io.dump(model, path)
    trust(directory, skops.io.get_untrusted_types(file=path))


def trust(directory: Path, names: list[str]) -> None:
    described = yaml.safe_load((directory / "MLmodel").read_text())
    described["flavors"]["sklearn"]["skops_trusted_types"] = names
    (directory / "MLmodel").write_text(yaml.safe_dump(described))


def refuses(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidSpecError):
        packaging.read(directory, storage_uri=str(tmp_path / "storage"))
    assert not (tmp_path / "marker").exists()


def name_of(function: Any) -> str:
    return f"{function.__module__}.{function.__qualname__}"


@pytest.mark.parametrize("function", FUNCTIONS, ids=name_of)
@pytest.mark.parametrize("is_partial", [False, True], ids=["alone", "partial"])
def test_a_function(tmp_path: Path, function: Callable[..., Any], is_partial: bool) -> None:
    directory = saved(tmp_path / "model")
    held = functools.partial(function, f"touch {tmp_path}/marker") if is_partial else function
    try:
        replace(directory, make_pipeline(FunctionTransformer(held), LogisticRegression()))
    except Exception as error:
        pytest.skip(f"skops cannot save it: {error}")
    refuses(directory, tmp_path)


def edited(node: dict[str, Any], **changed: Any) -> dict[str, Any]:
    return {**node, **changed}


NODES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "another class": lambda node: edited(node, __module__="subprocess", __class__="Popen"),
    "a class of the package": lambda node: edited(
        node, __module__="airflow_provider_mlops.runtimes.python", __class__="PythonRuntime"
    ),
    "a function": lambda node: edited(
        node, __module__="posix", __class__="system", __loader__="FunctionNode", content="posix.system"
    ),
    "a type": lambda node: edited(
        node, __module__="subprocess", __class__="Popen", __loader__="TypeNode", content="subprocess.Popen"
    ),
    "a call": lambda node: edited(
        node, __module__="posix", __class__="system", __loader__="ReduceNode", __reduce__={"args": ["touch marker"]}
    ),
    "a method": lambda node: edited(
        node,
        __module__="builtins",
        __class__="method",
        __loader__="MethodNode",
        content={"func": "system", "obj": node},
    ),
    "an operator": lambda node: edited(
        node, __module__="operator", __class__="attrgetter", __loader__="OperatorFuncNode", attrs=node
    ),
    "an unknown loader": lambda node: edited(node, __loader__="EvalNode"),
    "no loader": lambda node: {key: value for key, value in node.items() if key != "__loader__"},
    "JSON in the place of bytes": lambda node: edited(node, __loader__="JsonNode", content="__import__('os')"),
    "an array of objects": lambda node: edited(node, __loader__="NdArrayNode", type="numpy", file="payload.npy"),
    "a class in a module that runs when it is imported": lambda node: edited(
        node, __module__="antigravity", __class__="geohash"
    ),
}


@pytest.mark.parametrize("name", NODES)
def test_a_schema_that_was_edited(tmp_path: Path, name: str) -> None:
    directory = saved(tmp_path / "model")
    path = directory / "model.skops"
    with zipfile.ZipFile(path) as file:
        entries = {entry: file.read(entry) for entry in file.namelist()}
    schema = NODES[name](json.loads(entries.pop("schema.json")))
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("schema.json", json.dumps(schema))
        file.writestr("payload.npy", pickle.dumps(Touch(tmp_path / "marker")))
        for entry, content in entries.items():
            file.writestr(entry, content)
    trust(directory, ["subprocess.Popen", "posix.system", "builtins.method", "antigravity.geohash", "numpy.ndarray"])
    refuses(directory, tmp_path)


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("content", ["pickle", "no zip", "an empty zip", "nothing"])
def test_a_file_that_is_not_of_skops(tmp_path: Path, content: str) -> None:
    directory = saved(tmp_path / "model")
    path = directory / "model.skops"
    if content == "pickle":
        path.write_bytes(pickle.dumps(Touch(tmp_path / "marker")))
    elif content == "no zip":
        path.write_text("#!/bin/sh")
    elif content == "an empty zip":
        zipfile.ZipFile(path, "w").close()
    else:
        path.write_bytes(b"")
    refuses(directory, tmp_path)


@pytest.mark.parametrize("form", ["pickle", "cloudpickle", "joblib"])
def test_a_description_that_asks_for_pickle(tmp_path: Path, form: str) -> None:
    directory = saved(tmp_path / "model")
    described = yaml.safe_load((directory / "MLmodel").read_text())
    described["flavors"]["sklearn"].update(serialization_format=form, pickled_model="model.pkl")
    (directory / "MLmodel").write_text(yaml.safe_dump(described))
    (directory / "model.pkl").write_bytes(pickle.dumps(Touch(tmp_path / "marker")))
    refuses(directory, tmp_path)


@pytest.mark.parametrize("place", ["../elsewhere.skops", "{root}/elsewhere.skops"])
def test_a_description_that_points_elsewhere(tmp_path: Path, place: str) -> None:
    directory = saved(tmp_path / "model")
    shutil.copy(directory / "model.skops", tmp_path / "elsewhere.skops")
    described = yaml.safe_load((directory / "MLmodel").read_text())
    described["flavors"]["sklearn"]["pickled_model"] = place.format(root=tmp_path)
    (directory / "MLmodel").write_text(yaml.safe_dump(described))
    refuses(directory, tmp_path)


def spawning(tmp_path: Path) -> Any:
    spawn = setuptools._distutils.spawn.spawn
    command = functools.partial(spawn, ["touch", str(tmp_path / "marker")])
    return make_pipeline(FunctionTransformer(functools.partial(call, command)), LogisticRegression())


def call(command: Callable[[], Any], features: Any) -> Any:
    command()
    return features


def test_the_corpus_is_real(tmp_path: Path) -> None:
    """If the process that loads it names these types, the command runs."""
    directory = saved(tmp_path / "model")
    replace(directory, spawning(tmp_path))
    names = skops.io.get_untrusted_types(file=directory / "model.skops")
    loaded = packaging.read(directory, trusted_types=names)
    loaded.steps[0][1].transform(FEATURES)
    assert (tmp_path / "marker").exists()


def test_an_approval_is_for_one_file_only(tmp_path: Path) -> None:
    storage = tmp_path / "storage"
    directory = saved(tmp_path / "model")
    replace(directory, make_pipeline(FunctionTransformer(call), LogisticRegression()))
    path = directory / "model.skops"
    name = f"{call.__module__}.call"
    approval = type_approval.approve(str(storage), path, [name], "run")
    assert packaging.read(directory, storage_uri=str(storage)).steps[0][1].func is call
    # With one more byte it is another file.
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("note", "x")
    refuses(directory, tmp_path)
    # An approval that somebody has renamed is none for this file.
    (storage / "trusted-types" / f"{approval.digest}.json").rename(
        storage / "trusted-types" / f"{type_approval.digest(path)}.json"
    )
    refuses(directory, tmp_path)
    (storage / "trusted-types" / f"{type_approval.digest(path)}.json").write_text("{")
    refuses(directory, tmp_path)


def test_an_approval_that_cannot_be_read_says_that_the_storage_is_unavailable(tmp_path: Path) -> None:
    directory = saved(tmp_path / "model")
    approval = tmp_path / "storage" / "trusted-types" / f"{type_approval.digest(directory / 'model.skops')}.json"
    # Reading a directory fails as an object store does that is out of order: with an error, but not with "not found".
    approval.mkdir(parents=True)
    with pytest.raises(BackendUnavailableError, match=r"The storage at .* is unavailable"):
        packaging.read(directory, storage_uri=str(tmp_path / "storage"))
    approval.rmdir()
    assert packaging.read(directory, storage_uri=str(tmp_path / "storage")) is not None


def test_an_approval_does_not_let_the_standard_library_in(tmp_path: Path) -> None:
    directory = saved(tmp_path / "model")
    replace(directory, make_pipeline(FunctionTransformer(os.system), LogisticRegression()))
    type_approval.approve(str(tmp_path / "storage"), directory / "model.skops", ["posix.system"], "run")
    refuses(directory, tmp_path)


@pytest.mark.parametrize(
    "load",
    [
        lambda registry, model: models.load(registry, model),
        lambda registry, model: LoadedModel.load(registry, model),
        lambda registry, model: expected_predictions(registry, model),
    ],
    ids=["load", "gateway", "deploy"],
)
def test_a_registered_version_whose_files_were_replaced(
    workspace: Workspace, tmp_path: Path, load: Callable[..., Any]
) -> None:
    """By somebody who may write to the registry's artifacts: tags and lists beside the file do not help."""
    registry = workspace.registry()
    with open_run(registry, workspace.task, "churn") as run:
        fitted = make_pipeline(LogisticRegression()).fit(FEATURES, [0, 1, 1, 1])
        logged = registration.log_model(run, fitted, FEATURES)
        model = registration.register(run, "churn", logged, workspace.task)
    assert load(registry, model) is not None
    with models.downloaded(registry, model) as directory:
        replace(Path(directory), spawning(tmp_path))
        assert "marker" not in os.listdir(tmp_path)
    models.set_tags(registry, model, {"mlops.trusted_types": "setuptools._distutils.spawn.spawn"})
    with pytest.raises(InvalidSpecError, match="neither scikit-learn's own nor approved"):
        load(registry, model)
    assert not (tmp_path / "marker").exists()
