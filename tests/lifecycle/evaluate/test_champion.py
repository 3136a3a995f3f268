"""The champion next to the version under evaluation: measured on the same rows, or the reason why not."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet
import pytest
from sklearn import metrics as oracle
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.registry import promotion
from tests.helpers.evaluation import House
from tests.helpers.models import write


def test_the_champion_is_scored_on_the_same_rows(house: House) -> None:
    first = house.register("duel", "target", "classification", LogisticRegression(), task_id="t-first")
    second = house.register(
        "duel", "target", "classification", DecisionTreeClassifier(max_depth=1), task_id="t-second", features=["age"]
    )
    registry = house.workspace.registry()
    promotion.promote(registry, first, expected=None, by=house.workspace.task, reason="the first")
    result, evaluation = house.evaluate("duel", model=second, slices=("region",))
    output, probability = house.predicted(first, house.test_frame)
    assert result.champion_version == first.version
    assert result.champion is not None
    assert result.champion["accuracy"] == pytest.approx(oracle.accuracy_score(house.test_frame.target, output))
    table = pyarrow.parquet.read_table(evaluation.predictions_uri).to_pandas()
    np.testing.assert_allclose(table["champion_probability_1"], probability[:, 1])
    south = (house.test_frame.region == "south").to_numpy()
    part = next(part for part in evaluation.slices if part.value == "south")
    assert part.champion is not None
    assert part.champion["accuracy"] == pytest.approx(
        oracle.accuracy_score(house.test_frame.target[south], output[south])
    )
    run = registry.client.get_run(result.mlflow_run_id)
    assert run.data.metrics["champion_accuracy"] == pytest.approx(result.champion["accuracy"])
    assert "version 1" in storage.read_text(result.report_uri)

    itself, evaluation = house.evaluate("duel", model=first)
    assert (itself.champion, itself.champion_version) == (None, first.version)
    assert evaluation.champion_note == "version 1 is the champion itself"


def test_a_champion_that_cannot_answer_does_not_stop_the_step(house: House) -> None:
    old = house.register("moved", "target", "classification", LogisticRegression(), task_id="t-old")
    promotion.promote(house.workspace.registry(), old, expected=None, by=house.workspace.task, reason="the first")
    new = house.register(
        "moved", "target", "classification", LogisticRegression(), task_id="t-new", features=["age", "income"]
    )
    narrow = write(house.as_task("moved"), "narrow", house.test_frame.drop(columns="visits"))
    result, evaluation = house.evaluate("moved", model=new, dataset=narrow)
    assert (result.champion, result.champion_version) == (None, old.version)
    assert evaluation.champion_note.startswith("the champion, version 1, cannot be compared")
    assert "lack its columns 'visits'" in evaluation.champion_note
    # Text where the champion takes numbers: it fails while it predicts.
    text = write(house.as_task("moved"), "text", house.test_frame.assign(visits="many"))
    result, evaluation = house.evaluate("moved", model=new, dataset=text)
    assert (result.champion, result.champion_version) == (None, old.version)
    assert evaluation.champion_note.startswith("the champion, version 1, cannot predict these rows: ")
