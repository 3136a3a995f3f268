"""Labels and rewards for predictions that were made: `/feedback`."""

from __future__ import annotations

import json
import math
from typing import Any

from airflow_provider_mlops.serving.log import prediction_id
from airflow_provider_mlops.serving.rows.request_error import RequestError, shown

MAXIMUM_LENGTH = 10_000


def parse(content: Any) -> list[tuple[str, str | None, float | None]]:
    """Read one label, `{"prediction_id": ..., "label": ...}`, or several, `{"feedback": [...]}`.

    Each becomes (id, text, reward). Instead of the label or beside it stands a `reward`: a number that says how good
    the answer was. A label is text, a number, or true or false. Whether the prediction exists is not looked up: it may
    have been made by another gateway, and long ago. Raises RequestError: 400 for the protocol, 422 for an id, a label or a
    reward that cannot be one.
    """
    if type(content) is dict and "feedback" in content:
        if content.keys() != {"feedback"} or type(content["feedback"]) is not list or not content["feedback"]:
            raise RequestError(
                400, "feedback must be a list of at least one label, and nothing else beside it", "feedback"
            )
        return [_one(entry, f"feedback[{position}]") for position, entry in enumerate(content["feedback"])]
    return [_one(content, "the body")]


def _one(entry: Any, where: str) -> tuple[str, str | None, float | None]:
    if type(entry) is not dict:
        raise RequestError(400, f"{where} must be an object with prediction_id and label, not {shown(entry)}")
    if "prediction_id" not in entry:
        raise RequestError(400, f"{where} has no prediction_id", "prediction_id")
    if "label" not in entry and "reward" not in entry:
        raise RequestError(400, f"{where} has no label, and no reward", "label")
    unknown = sorted(entry.keys() - {"prediction_id", "label", "reward"})
    if unknown:
        raise RequestError(400, f"{where} has prediction_id, label and reward, and no {shown(unknown[0])}", unknown[0])
    name = entry["prediction_id"]
    if type(name) is not str or not prediction_id.is_valid(name):
        raise RequestError(
            422, f"{where}: {shown(name)} is not the id of a prediction: send it as it was answered", "prediction_id"
        )
    label = _text(entry["label"], where) if "label" in entry else None
    return name, label, _number(entry["reward"], where) if "reward" in entry else None


def _number(reward: Any, where: str) -> float:
    if type(reward) in (int, float, bool):
        try:
            number = float(reward)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    raise RequestError(422, f"{where}: a reward is a finite number, or true or false, not {shown(reward)}", "reward")


def _text(label: Any, where: str) -> str:
    if type(label) is str:
        if len(label) > MAXIMUM_LENGTH:
            raise RequestError(422, f"{where}: the label is longer than {MAXIMUM_LENGTH} characters", "label")
        try:
            label.encode()
        except UnicodeEncodeError:
            raise RequestError(422, f"{where}: the label is not valid Unicode", "label") from None
        return label
    if type(label) in (bool, int) or (type(label) is float and math.isfinite(label)):
        return json.dumps(label)
    raise RequestError(422, f"{where}: a label is text, a finite number, or true or false, not {shown(label)}", "label")
