"""Gates, fields and evaluations that validate refuses: the error names them and the remedy."""

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
        ({"evaluation_uri": "/nowhere.json"}, r"evaluation_uri='/nowhere.json': .*Run the evaluate step"),
        (
            {"model": ModelVersion(name="duel", version=77, run_id="r")},
            r"it is the evaluation of alone version 1, not of duel",
        ),
        ({"gates": [{"kind": "slice", "columns": ["town"]}]}, r"gates.columns='town': .*Use one of 'age'"),
        (
            {"gates": [{"kind": "fairness", "max_value": 1, "columns": ["age"]}]},
            r"gates.columns='age': .*Use one of 'region', 'sex'",
        ),
        ({"gates": [{"kind": "fairness", "max_value": 1, "metric": "mae_difference"}]}, r"gates.metric='mae_diff"),
    ],
)
def test_an_invalid_field_is_named_with_the_remedy(
    arena: Arena, uris: dict[str, str], fields: dict[str, Any], message: str
) -> None:
    spec = STEP.parse({"model": arena.alone, "evaluation_uri": uris["alone"], **fields})
    with pytest.raises(InvalidSpecError, match=message):
        validate(spec, arena.as_task("bad"))


def test_an_evaluation_whose_files_are_gone_or_broken(arena: Arena, uris: dict[str, str]) -> None:
    workspace = arena.as_task("broken-files")
    evaluation = Evaluation.read(uris["alone"])
    uri = workspace.uri("evaluations") + "/evaluation.json"
    evaluation.model_copy(update={"predictions_uri": "/nowhere.parquet"}).write(uri)
    with pytest.raises(InvalidSpecError, match="the predictions file of the evaluation cannot be read"):
        arena.validate("broken-files", arena.alone, uri, {"kind": "baseline"})
    example = evaluation.example.model_copy(update={"rows_uri": "/nowhere.parquet"})
    evaluation.model_copy(update={"example": example}).write(uri)
    with pytest.raises(InvalidSpecError, match="the example rows of the evaluation do not exist"):
        arena.validate("broken-files", arena.alone, uri, {"kind": "latency"})
    storage.write_text(uri, '{"model": 3}')
    with pytest.raises(InvalidSpecError, match="the file is not an evaluation"):
        arena.validate("broken-files", arena.alone, uri, {"kind": "size"})
    gone = ModelVersion(name="alone", version=9, run_id="r")
    evaluation.model_copy(update={"model": gone}).write(uri)
    with pytest.raises(InvalidSpecError, match=r"alone.*version 9|alone/9"):
        arena.validate("broken-files", gone, uri, {"kind": "size"})


@pytest.mark.parametrize(
    ("gates", "message"),
    [
        ([{"kind": "limit", "metric": "acuracy", "min_value": 1}], r"metric='acuracy': .* mean 'accuracy'"),
        ([{"kind": "champion", "metric": "zzz"}], r"metric='zzz': .*Use one of 'accuracy'"),
        ([{"kind": "fairness", "metric": "parity", "max_value": 1}], r"metric='parity': it must be a fairness measure"),
        ([{"kind": "limit", "metric": "accuracy"}], r"min_value=None: set min_value, max_value or both"),
        (
            [{"kind": "limit", "metric": "accuracy", "min_value": 2, "max_value": 1}],
            r"min_value=2: .*no value could pass",
        ),
        ([{"kind": "limit", "metric": "accuracy", "minimun": 1}], r"gates.0.minimun=1"),
        ([{"kind": "speed"}], r"gates.0.kind='speed': .*'limit', .*'latency'"),
        ([{"kind": "champion"}, {"kind": "champion"}], r"two gates are called 'champion'"),
        ([], r"gates=\[\]"),
        ([{"kind": "size"}] * 41, r"gates="),
    ],
)
def test_gates_are_checked_before_anything_runs(gates: list[dict[str, Any]], message: str) -> None:
    model = {"name": "a", "version": 1, "run_id": "r"}
    with pytest.raises(InvalidSpecError, match=message):
        STEP.parse({"model": model, "evaluation_uri": "/e", "gates": gates})
