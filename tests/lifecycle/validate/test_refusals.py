"""What validate refuses: gates, fields and evaluations that are wrong or gone, each named with the way out."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.scoring.evaluation import Evaluation
from airflow_provider_mlops.lifecycle.validate.step import STEP, validate
from airflow_provider_mlops.registry.model_version import ModelVersion
from tests.helpers.validation import Arena


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"evaluation_uri": "/nowhere.json"}, r"^evaluation_uri='/nowhere.json': no evaluation lies there"),
        ({"model": ModelVersion(name="duel", version=77, run_id="r")}, r"it evaluates alone version 1, and not duel"),
        ({"gates": [{"kind": "slice", "columns": ["town"]}]}, r"^gates.columns='town': .* its slices are 'age'"),
        ({"gates": [{"kind": "fairness", "max_value": 1, "columns": ["age"]}]}, r"its sensitive are 'region', 'sex'"),
        ({"gates": [{"kind": "fairness", "max_value": 1, "metric": "mae_difference"}]}, r"^gates.metric='mae_diff"),
    ],
)  # fmt: skip
def test_bad_input_names_the_way_out(arena: Arena, uris: dict[str, str], fields: dict[str, Any], message: str) -> None:
    spec = STEP.parse({"model": arena.alone, "evaluation_uri": uris["alone"], **fields})
    with pytest.raises(InvalidSpecError, match=message):
        validate(spec, arena.as_task("bad"))


def test_an_evaluation_whose_files_are_gone_or_broken(arena: Arena, uris: dict[str, str]) -> None:
    workspace = arena.as_task("broken-files")
    evaluation = Evaluation.read(uris["alone"])
    uri = workspace.uri("evaluations") + "/evaluation.json"
    evaluation.model_copy(update={"predictions_uri": "/nowhere.parquet"}).write(uri)
    with pytest.raises(InvalidSpecError, match="the evaluation's predictions cannot be read"):
        arena.validate("broken-files", arena.alone, uri, {"kind": "baseline"})
    example = evaluation.example.model_copy(update={"rows_uri": "/nowhere.parquet"})
    evaluation.model_copy(update={"example": example}).write(uri)
    with pytest.raises(InvalidSpecError, match="the example rows of the evaluation are gone"):
        arena.validate("broken-files", arena.alone, uri, {"kind": "latency"})
    storage.write_text(uri, '{"model": 3}')
    with pytest.raises(InvalidSpecError, match="this is not an evaluation"):
        arena.validate("broken-files", arena.alone, uri, {"kind": "size"})
    gone = ModelVersion(name="alone", version=9, run_id="r")
    evaluation.model_copy(update={"model": gone}).write(uri)
    with pytest.raises(InvalidSpecError, match="alone has no version 9"):
        arena.validate("broken-files", gone, uri, {"kind": "size"})


@pytest.mark.parametrize(
    ("gates", "message"),
    [
        ([{"kind": "limit", "metric": "acuracy", "min_value": 1}], r"^gates.metric='acuracy': .* mean 'accuracy'"),
        ([{"kind": "champion", "metric": "zzz"}], r"^gates.metric='zzz': there is no such metric; use one of accuracy"),
        ([{"kind": "fairness", "metric": "parity", "max_value": 1}], r"^gates.metric='parity': there is no such fair"),
        ([{"kind": "limit", "metric": "accuracy"}], r"give min_value, max_value or both"),
        ([{"kind": "limit", "metric": "accuracy", "min_value": 2, "max_value": 1}], r"nothing could pass"),
        ([{"kind": "limit", "metric": "accuracy", "minimun": 1}], r"gates.0.minimun=1: it is not a field of LimitGate"),
        ([{"kind": "speed"}], r"gates.0.kind='speed': it must be one of 'limit', .*'latency'"),
        ([{"kind": "champion"}, {"kind": "champion"}], r"^gates='champion': two gates are called so"),
        ([], r"^gates=\[\]"),
        ([{"kind": "size"}] * 41, r"^gates="),
    ],
)  # fmt: skip
def test_gates_are_checked_before_anything_runs(gates: list[dict[str, Any]], message: str) -> None:
    model = {"name": "a", "version": 1, "run_id": "r"}
    with pytest.raises(InvalidSpecError, match=message):
        STEP.parse({"model": model, "evaluation_uri": "/e", "gates": gates})
