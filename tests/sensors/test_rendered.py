"""Templates that give nothing: Airflow makes the text None of it."""

from __future__ import annotations

import pytest

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.sensors.enough_feedback import EnoughFeedbackSensor
from airflow_provider_mlops.sensors.rollout_finished import RolloutFinishedSensor


@pytest.mark.parametrize("nothing", ["None", ""])
def test_a_rollout_that_is_not_given_is_none(nothing: str) -> None:
    finished = RolloutFinishedSensor(task_id="over", model_name="churn", rollout=nothing)
    assert finished.trigger().rollout is None
    labelled = EnoughFeedbackSensor(task_id="labelled", model_name="churn", min_labels=1, rollout=nothing)
    assert labelled.trigger().rollout is None
    with pytest.raises(InvalidSpecError, match="its template gave no value"):
        RolloutFinishedSensor(task_id="over", rollout=nothing).trigger()
