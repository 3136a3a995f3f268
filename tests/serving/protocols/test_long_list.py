"""Long lists are decoded entry by entry, with the same result as by Python's parser, and nothing runs for long."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_mlops.serving.protocols import feedback, long_list
from airflow_provider_mlops.serving.rows.request_error import RequestError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(VALUES, min_size=1, max_size=30), st.sampled_from([None, 1]), st.sampled_from([40, 256 * 1024]))
@settings(max_examples=40, deadline=None)
def test_it_finds_what_the_usual_parser_finds(content: list[object], indent: int | None, window: int) -> None:
    objects = [{"entry": entry} for entry in content]
    body = json.dumps({"feedback": objects}, indent=indent).encode()
    longest = max(len(json.dumps(entry, indent=indent)) for entry in objects)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long_list, "_WINDOW", max(window, 2 * longest + 20))
        assert list(long_list.entries(body, "feedback")) == objects


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[",
        '{"feedback": []}',
        '{"feedback": [{}}',
        '{"feedback": [{},]}',
        '{"feedback": [{} {}]}',
        '{"feedback": [{}], "more": 1}',
        '{"feedback": [{}]} x',
        '{"feedback": [{}]',
        '{"feedback": [{"a": tru}]}',
        '{"other": [{}]}',
        '{"feedback": {}}',
        '{"feedback": [' + "[" * 100_000,
        '{"feedback": [{"label": "' + "x" * 300_000 + '"}]}',
    ],
)
def test_what_is_no_such_list_is_refused(body: str) -> None:
    with pytest.raises(RequestError) as refused:
        list(long_list.entries(body.encode(), "feedback"))
    assert refused.value.status == 400


def test_text_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(RequestError, match="not valid JSON"):
        list(long_list.entries(b'{"feedback": [{"label": "\xff"}]}', "feedback"))


def test_a_large_body_is_parsed_as_a_small_one_is() -> None:
    name = "0190a5d3c1f2" + 20 * "0"
    entries = [{"prediction_id": name, "label": "é" * 20, "reward": number / 7} for number in range(5000)]
    body = json.dumps({"feedback": entries}).encode()
    assert len(body) > 500_000
    assert feedback.parse_large(body) == feedback.parse({"feedback": entries})
    longest = json.dumps({"prediction_id": name, "label": "\U0001f600" * 10_000}).encode()
    assert len(feedback.parse_large(longest)) == 1
    entries[4000]["prediction_id"] = "order-17"
    with pytest.raises(RequestError, match=r"feedback\[4000\].*'order-17' is not a valid prediction id") as refused:
        feedback.parse_large(json.dumps({"feedback": entries}).encode())
    assert refused.value.status == 422
