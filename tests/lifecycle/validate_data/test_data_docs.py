"""Data Docs: safe to open, and with what was observed."""

from __future__ import annotations

import html.parser
from pathlib import Path

import numpy
import pyarrow
import pytest

from airflow_provider_mlops.lifecycle.workspace import Workspace
from tests.helpers.data_validation import between, people, run, suite_file, write


class ActiveContent(html.parser.HTMLParser):
    """Everything in a page that a browser would run or load from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.items: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "link", "img", "iframe", "object", "embed", "base"):
            self.items.append(tag)
        for name, value in attrs:
            if name.startswith("on") or name == "src" or "://" in (value or ""):
                self.items.append(f"{tag} {name}={value}")


def test_data_docs_are_self_contained_and_safe(workspace: Workspace, tmp_path: Path) -> None:
    attack = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    table = pyarrow.table({"city": ["Ulm", attack], attack: [1, 2]})
    suite = suite_file(
        tmp_path,
        {
            "type": "expect_column_values_to_be_in_set",
            "kwargs": {"column": "city", "value_set": ["Ulm", "<b onclick=steal()>"]},
            "severity": "warning",
        },
        between(attack, 0, 1, severity="warning"),
    )
    result = run(workspace, write(workspace, table), suite_file=suite)
    assert result.data_docs_uri.endswith("/index.html")
    for page in ("index.html", "expectations.html"):
        text = (Path(result.data_docs_uri).parent / page).read_text()
        active = ActiveContent()
        active.feed(text)
        assert active.items == []
        assert "url(" not in text
        assert "@import" not in text
        assert "&lt;b onclick=steal()&gt;" in text
    index = Path(result.data_docs_uri).read_text()
    assert "&lt;img src=x onerror=alert(1)&gt;" in index


def test_data_docs_show_what_was_observed(
    workspace: Workspace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    suite = suite_file(
        tmp_path,
        {"type": "expect_column_median_to_be_between", "kwargs": {"column": "age", "min_value": 40, "max_value": 50}},
        {"type": "expect_column_max_to_be_between", "kwargs": {"column": "age", "max_value": 90}},
        {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1}},
        between("age", 30, 60, severity="info"),
    )
    result = run(workspace, write(workspace, people()), suite_file=suite)
    text = Path(result.data_docs_uri).read_text()
    median = numpy.median(numpy.asarray(people()["age"]))
    assert f"≈{median:.10g}" in text
    assert "An unexpected Exception" not in caplog.text


def test_a_retry_replaces_docs_and_continues_the_run(workspace: Workspace, tmp_path: Path) -> None:
    dataset = write(workspace, people())
    suite = suite_file(tmp_path, between("age", 0, 120))
    first, second = (run(workspace, dataset, suite_file=suite) for _ in range(2))
    assert first == second
