"""Charts over time: what is drawn where, and nothing that breaks on strange values."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_mlops.lifecycle.reports.report import Report
from airflow_provider_mlops.lifecycle.reports.timeline import Series, Timeline

START = datetime(2026, 1, 1, 12, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def lines(html: str, tag: str = "polyline") -> list[list[tuple[float, float]]]:
    return [
        [tuple(map(float, point.split(","))) for point in points.split()]  # type: ignore[misc]
        for points in re.findall(rf'<{tag} class="c\d" points="([^"]*)"', html)
    ]


def test_a_line_goes_from_left_to_right_and_up_when_values_grow() -> None:
    html = Timeline("x", [Series("a", [(at(0), 0.0), (at(5), 1.0), (at(10), 0.5)])], str, bottom=0, top=1).html()
    assert lines(html) == [[(0, 200), (500, 0), (1000, 100)]]
    assert "12:00:00" in html
    assert "12:10:00 UTC" in html


def test_a_step_has_a_corner_at_each_change_and_none_breaks_a_line() -> None:
    points = [(at(0), 0.0), (at(5), 1.0), (at(8), None), (at(10), 0.5)]
    html = Timeline("x", [Series("a", points, is_step=True)], str, bottom=0, top=1).html()
    assert lines(html) == [[(0, 200), (500, 200), (500, 0)], [(996, 100), (1000, 100)]]


def test_a_band_without_an_end_reaches_the_edge_and_wide_beginnings_do_not_squeeze_it() -> None:
    series = Series(
        "a",
        [(at(minute), 0.5) for minute in range(4)],
        low=[None, -50.0, 0.4, 0.45],
        high=[None, 50.0, 0.6, 0.55],
    )
    html = Timeline("x", [series], "{:.2f}".format, limit=(0.7, "limit")).html()
    (band,) = lines(html, "polygon")
    assert [y for _, y in band[:2]] == [0, 0]
    assert [y for _, y in band[-2:]] == [200, 200]
    assert "0.72" in html
    assert "0.38" in html
    assert '<line class="limit"' in html


@pytest.mark.parametrize("value", [0.0, -3.0, 1e-12, 1e12, None])
def test_one_value_and_equal_values_can_be_drawn(value: float | None) -> None:
    for count in (1, 3):
        html = Timeline("x", [Series("a", [(at(0), value)] * count)], str).html()
        for line in lines(html):
            assert all(0 <= x <= 1000 and 0 <= y <= 200 for x, y in line)


def test_nothing_to_draw_is_said_and_text_is_escaped() -> None:
    assert "Nothing has been measured" in Timeline("x", [], str).html()
    html = Timeline('"<b>', [Series("<i>", [(at(0), 1.0)])], lambda _: "<u>", limit=(1.0, "<s>")).html()
    assert not re.search(r'"<b>|<i>|<u>|<s>', html)
    page = Report("r").timeline(Timeline("x", [Series("a", [(at(0), 1.0)])], str), "<em>").html(refresh_seconds=5)
    assert "&lt;em&gt;" in page
    assert '<meta http-equiv="refresh" content="5">' in page
    assert 'http-equiv="refresh"' not in Report("r").html()
