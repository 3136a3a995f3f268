"""Labels and rewards for earlier predictions, sent to `/feedback`."""

from __future__ import annotations

import json
import math
from typing import Any

from airflow_provider_mlops.serving.log import prediction_id
from airflow_provider_mlops.serving.protocols import encoding, long_list
from airflow_provider_mlops.serving.rows.request_error import RequestError, format_value

MAX_LABEL_LENGTH = 10_000
_MAX_SINGLE_BYTES = 128 * 1024
"""More than one label takes, in which each character may be two escapes of six characters."""


def parse(content: Any) -> list[tuple[str, str | None, float | None]]:
    """Parse one label, `{"prediction_id": ..., "label": ...}`, or several, `{"feedback": [...]}`.

    Each becomes (prediction id, label as text, reward). An entry has a label, a reward, or both. A label is text, a
    number or a boolean; a reward is a number that rates the prediction. The prediction is not looked up, since another
    gateway may have made it, or it may be old. Raises RequestError: 400 for the format, 422 for an invalid id, label or
    reward.
    """
    if type(content) is dict and "feedback" in content:
        if content.keys() != {"feedback"} or type(content["feedback"]) is not list or not content["feedback"]:
            raise RequestError(400, "feedback must be a non-empty list and the only field of the body.", "feedback")
        return [_parse_entry(entry, f"feedback[{position}]") for position, entry in enumerate(content["feedback"])]
    return [_parse_entry(content, "The body")]


def parse_large(body: bytes) -> list[tuple[str, str | None, float | None]]:
    """Parse the body of a large request in steps, so that other threads run in between. See `parse`."""
    if len(body) <= _MAX_SINGLE_BYTES:
        return parse(encoding.decode_exactly(body))
    labels = []
    for position, entry in enumerate(long_list.entries(body, "feedback")):
        labels.append(_parse_entry(entry, f"feedback[{position}]"))
    return labels


def _parse_entry(entry: Any, where: str) -> tuple[str, str | None, float | None]:
    if type(entry) is not dict:
        raise RequestError(
            400, f"{where} must be an object with prediction_id and label or reward, not {format_value(entry)}."
        )
    if "prediction_id" not in entry:
        raise RequestError(400, f"{where} must have a prediction_id.", "prediction_id")
    if "label" not in entry and "reward" not in entry:
        raise RequestError(400, f"{where} must have a label or a reward.", "label")
    unknown = sorted(entry.keys() - {"prediction_id", "label", "reward"})
    if unknown:
        raise RequestError(
            400,
            f"{where} has the unknown field {format_value(unknown[0])}. Allowed fields: prediction_id, label, reward.",
            unknown[0],
        )
    name = entry["prediction_id"]
    if type(name) is not str or not prediction_id.is_valid(name):
        raise RequestError(
            422,
            f"{where}: {format_value(name)} is not a valid prediction id. Send the id that the prediction returned.",
            "prediction_id",
        )
    label = _parse_label(entry["label"], where) if "label" in entry else None
    return name, label, _parse_reward(entry["reward"], where) if "reward" in entry else None


def _parse_reward(reward: Any, where: str) -> float:
    if type(reward) in (int, float, bool):
        try:
            number = float(reward)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    raise RequestError(
        422, f"{where}: the reward must be a finite number or a boolean, not {format_value(reward)}.", "reward"
    )


def _parse_label(label: Any, where: str) -> str:
    if type(label) is str:
        if len(label) > MAX_LABEL_LENGTH:
            raise RequestError(422, f"{where}: the label must have at most {MAX_LABEL_LENGTH:,} characters.", "label")
        try:
            label.encode()
        except UnicodeEncodeError:
            raise RequestError(422, f"{where}: the label must be valid Unicode text.", "label") from None
        return label
    if type(label) in (bool, int) or (type(label) is float and math.isfinite(label)):
        return json.dumps(label)
    raise RequestError(
        422, f"{where}: the label must be text, a finite number or a boolean, not {format_value(label)}.", "label"
    )
