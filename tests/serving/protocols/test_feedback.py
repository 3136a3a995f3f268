"""Labels and rewards as they may come, and as they may not."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_mlops.serving.protocols import feedback
from airflow_provider_mlops.serving.rows.request_error import RequestError

NAME = "0" * 32


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"label": "yes"}, ("yes", None)),
        ({"label": 1.5}, ("1.5", None)),
        ({"reward": 3}, (None, 3.0)),
        ({"reward": True}, (None, 1.0)),
        ({"label": True, "reward": -0.5}, ("true", -0.5)),
    ],
)
def test_labels_and_rewards(told: dict[str, Any], expected: tuple[Any, Any]) -> None:
    assert feedback.parse({"prediction_id": NAME, **told}) == [(NAME, *expected)]
    assert feedback.parse({"feedback": [{"prediction_id": NAME, **told}] * 2}) == [(NAME, *expected)] * 2


@pytest.mark.parametrize(
    ("told", "status", "field"),
    [
        ({}, 400, "label"),
        ({"label": 1, "score": 2}, 400, "score"),
        ({"reward": "much"}, 422, "reward"),
        ({"reward": None}, 422, "reward"),
        ({"reward": float("nan")}, 422, "reward"),
        ({"reward": 10**400}, 422, "reward"),
        ({"reward": 1, "label": []}, 422, "label"),
    ],
)
def test_what_is_neither(told: dict[str, Any], status: int, field: str) -> None:
    with pytest.raises(RequestError) as refused:
        feedback.parse({"prediction_id": NAME, **told})
    assert (refused.value.status, refused.value.field) == (status, field)
