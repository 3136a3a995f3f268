"""A report is self-contained, and values from data cannot break out of it."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from airflow_provider_mlops.lifecycle.reports.report import Card, Report, format_number, format_value

VOID = {"meta", "img", "br", "hr", "rect"}


class Outline(HTMLParser):
    """The tags, the text and the loaded resources of a page; every tag that opens must be closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.loaded: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        self.loaded += [str(values[name]) for name in ("src", "srcset", "data") if name in values]
        self.ids += [str(values["id"])] if "id" in values else []
        assert not any(name.startswith("on") for name in values)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def figure() -> Figure:
    drawn = Figure(figsize=(3, 2))
    drawn.subplots().plot([1, 2, 3])
    return drawn


def full(word: str) -> Report:
    return (
        Report(word, word)
        .verdict(word, word)
        .section(word)
        .text(word)
        .section(word)
        .table([word, "b"], [[word, 1.0], [None, True]], caption=word)
        .section("third")
        .cards([Card(word, word, [(word, word)], [(word, 1.0), ("b", 0.0)], (word, word), word)])
        .bars([(word, -1.0), ("b", 0.5)], word)
    )


ATTACKS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "![x](http://evil.example/x.png)",
    "</style>",
    "a & b",
    "ü – 日本",
]


@pytest.mark.parametrize("word", ATTACKS)
def test_values_from_data_stay_text(word: str) -> None:
    outline = Outline(full(word).html())
    assert "script" not in outline.tags
    assert outline.tags.count("style") == 1
    assert outline.tags.count("link") == 0
    assert outline.loaded == []
    assert word in outline.text


@settings(max_examples=60, deadline=None)
@given(word=st.text(max_size=40))
def test_any_text_gives_a_well_formed_document(word: str) -> None:
    outline = Outline(full(word).html())
    assert not {"script", "iframe", "object", "link"} & set(outline.tags)
    assert len(outline.ids) == len(set(outline.ids)) == 3


def test_figures_are_inside_the_document(tmp_path: Path) -> None:
    report = Report("Plots").figure(figure(), "First").figure(figure(), "Second")
    uri = report.write(str(tmp_path / "report.html"))
    outline = Outline(Path(uri).read_text())
    assert len(outline.loaded) == 2
    assert all(source.startswith("data:image/svg+xml;base64,") for source in outline.loaded)
    assert "http" not in " ".join(outline.loaded)


def test_a_browser_loads_nothing_and_runs_nothing() -> None:
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in Report("a").html()


@pytest.mark.parametrize(
    ("word", "color"), [("approved", "good"), ("Rejected", "bad"), ("inconclusive", "doubtful"), ("moved", "neutral")]
)
def test_a_verdict_has_the_color_of_its_meaning(word: str, color: str) -> None:
    assert f'class="verdict {color}"' in Report("a").verdict(word, "because").html()


def test_sections_are_listed_when_there_are_several() -> None:
    report = Report("a").section("One").section("One")
    assert "<nav" not in report.html()
    html = report.section("Two").html()
    assert html.count("<nav") == 1
    assert 'href="#one"' in html
    assert 'href="#one-2"' in html


def test_an_empty_table_says_so() -> None:
    assert "no rows" in Report("a").table(["x"], []).html()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (True, "yes"),
        (0.0, "0"),
        (-0.25, "-0.25"),
        (float("inf"), "infinity"),
        (1234567, "1,234,567"),
        ("x", "x"),
    ],
)
def test_values_are_written_for_people(value: object, text: str) -> None:
    assert format_value(value) == text


def test_numpy_numbers_are_numbers() -> None:
    import numpy

    assert format_value(numpy.float64(0.123456)) == "0.1235"
    assert format_value(numpy.int64(1234)) == "1,234"
    assert format_number(1e-7) == "1e-07"
