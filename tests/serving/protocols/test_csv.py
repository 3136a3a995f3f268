"""CSV at `/invocations`: what a DataFrame writes, what other programs write, and what cannot be read."""

from __future__ import annotations

import httpx
import numpy as np
import pytest

from airflow_provider_mlops.serving.protocols import csv_rows
from airflow_provider_mlops.serving.rows.input_schema import Feature, InputSchema
from airflow_provider_mlops.serving.rows.request_error import RequestError
from tests.helpers.serving.live_gateway import LiveGateway
from tests.helpers.serving.served_registry import CUSTOMERS, churn_model

SCHEMA = InputSchema(
    (
        Feature("n", "long", nullable=True),
        Feature("x", "double", nullable=True),
        Feature("s", "string", nullable=True),
        Feature("b", "boolean", nullable=True),
        Feature("t", "datetime", nullable=True),
    )
)


def test_what_a_dataframe_writes(gateway: LiveGateway) -> None:
    # The first customer has no age.
    rows = CUSTOMERS.head(20)
    for charset in ("text/csv", "text/csv; charset=utf-8", 'TEXT/CSV; charset="UTF-8"'):
        answer = httpx.post(
            f"{gateway.url}/models/churn/invocations",
            content=rows.to_csv(index=False),
            headers={"Content-Type": charset},
            timeout=30,
        )
        assert answer.json()["predictions"] == churn_model().predict(rows).tolist()
        assert len(answer.json()["prediction_ids"]) == 20


def values(content: bytes, name: str) -> list[object]:
    rows = csv_rows.parse(content, SCHEMA)
    return list(rows.columns()[SCHEMA.names.index(name)].tolist())


HEADER = b"n,x,s,b,t\n"
ROW = b"1,2.5,a,true,2026-01-01\n"


@pytest.mark.parametrize(
    ("content", "name", "expected"),
    [
        (HEADER + ROW, "n", [1]),
        (b"\xef\xbb\xbf" + HEADER + ROW, "n", [1]),
        (HEADER.replace(b"\n", b"\r\n") + ROW.replace(b"\n", b"\r\n"), "s", ["a"]),
        (HEADER + ROW.strip(), "s", ["a"]),
        (b"s,t,x,n,b\na,2026-01-01,2.5,1,true\n", "n", [1]),
        (HEADER + b'1,2.5,"a,\n""b""",true,2026-01-01\n', "s", ['a,\n"b"']),
        (HEADER + b"1,2.5,\xc3\xa9,true,2026-01-01\n", "s", ["é"]),
        (HEADER + b'1,2.5,"NA",true,2026-01-01\n', "s", ["NA"]),
        (HEADER + b"1,2.5,NA,true,2026-01-01\n", "s", [None]),
        (HEADER + b'1,2.5,"",true,2026-01-01\n', "s", [""]),
        (HEADER + b"1,2.5,,true,2026-01-01\n", "s", [None]),
        (HEADER + b"1,2.5,007,true,2026-01-01\n", "s", ["007"]),
        (HEADER + b"1,2.5,a\0b,true,2026-01-01\n", "s", ["a\0b"]),
        (HEADER + b'"1","2.5",a,"True",2026-01-01\n', "n", [1]),
        (HEADER + b"1.0,1e3,a,FALSE,2026-01-01 10:00:00\n", "x", [1000.0]),
        (HEADER + b"9007199254740993,1,a,true,2026-01-01\n", "n", [9007199254740993]),
        (HEADER + b"1,1,a,true,2026-01-01\n\n\n2,2,b,false,2026-01-02\n", "n", [1, 2]),
        (HEADER, "s", []),
        (HEADER.strip(), "s", []),
    ],
)
def test_values(content: bytes, name: str, expected: list[object]) -> None:
    assert values(content, name) == expected


def test_missing_numbers() -> None:
    rows = csv_rows.parse(HEADER + b",,,,\nNA,NaN,null,N/A,\n", SCHEMA)
    numbers = np.array(rows.columns()[:2])
    assert np.isnan(numbers).all()
    assert rows.count == 2


WRONG: dict[str, tuple[bytes, int, str | None, str]] = {
    "nothing": (b"", 400, None, "empty"),
    "blanks": (b" \r\n\t\n", 400, None, "empty"),
    "a short row": (HEADER + b"1,2\n", 400, None, "5 columns, got 2"),
    "a long row": (HEADER + ROW.strip() + b",9\n", 400, None, "5 columns, got 6"),
    "an open quote": (HEADER + b'1,2.5,"a,true,2026-01-01\n', 400, None, "not closed"),
    "not UTF-8": (HEADER + b"1,2.5,\xe9,true,2026-01-01\n", 400, None, "UTF"),
    "UTF-16": ((HEADER + ROW).decode().encode("utf-16"), 400, None, "CSV"),
    "semicolons and decimal commas": (b"n;x;s;b;t\n1;2,5;a;true;x\n", 422, None, "semicolons"),
    "semicolons": (b"n;x;s;b;t\n1;2.5;a;true;x\n", 422, None, "semicolons"),
    "tabs": (b"n\tx\ts\tb\tt\n1\t2.5\ta\ttrue\tx\n", 422, None, "tabs"),
    "an index": (b",n,x,s,b,t\n0," + ROW, 422, "", "without an index"),
    "a column that is missing": (b"n,x,s,b\n1,2.5,a,true\n", 422, "t", "missing"),
    "a column that is unknown": (b"n,x,s,b,t,u\n" + ROW.strip() + b",1\n", 422, "u", "no column"),
    "a column twice": (b"n,x,s,b,t,n\n" + ROW.strip() + b",1\n", 422, "n", "twice"),
    "text for a number": (HEADER + b"many,2.5,a,true,2026-01-01\n", 422, "n", "'many'"),
    "a number with underscores": (HEADER + b"1_000,2.5,a,true,2026-01-01\n", 422, "n", "'1_000'"),
    "a number with a null byte": (HEADER + b"1\0,2.5,a,true,2026-01-01\n", 422, "n", "integer"),
    "infinity": (HEADER + b"1,inf,a,true,2026-01-01\n", 422, "x", "infinity"),
    "a fraction for an integer": (HEADER + b"1.5,2.5,a,true,2026-01-01\n", 422, "n", "integer"),
    "a number for a boolean": (HEADER + b"1,2.5,a,1,2026-01-01\n", 422, "b", "true or false"),
    "text for a time": (HEADER + b"1,2.5,a,true,today\n", 422, "t", "ISO 8601"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_read(case: str) -> None:
    content, status, field, words = WRONG[case]
    with pytest.raises(RequestError) as raised:
        csv_rows.parse(content, SCHEMA)
    assert (raised.value.status, raised.value.field) == (status, field), raised.value.message
    assert words in raised.value.message


def test_a_row_that_is_larger_than_a_block() -> None:
    text = "x" * 3_000_000
    assert values(HEADER + b'1,2.5,"' + text.encode() + b'",true,2026-01-01\n', "s") == [text]


def test_another_character_set_is_refused(gateway: LiveGateway) -> None:
    answer = httpx.post(
        f"{gateway.url}/models/churn/invocations",
        content=b"age\n1\n",
        headers={"Content-Type": "text/csv; charset=latin-1"},
    )
    assert (answer.status_code, answer.json()["field"]) == (415, "Content-Type")
