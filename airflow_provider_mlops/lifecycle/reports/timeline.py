"""Charts of values over time for reports: lines, bands and limits as inline SVG, readable in both color schemes.

The drawing is stretched to the width of the page, and all text is outside it in HTML, so that it is as readable on a
telephone as on a desktop. Nothing heavy is imported: a chart takes a millisecond, and may be drawn at each check.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape

Points = Sequence[tuple[datetime, float | None]]
_WIDTH, _HEIGHT = 1000.0, 200.0


@dataclass(frozen=True)
class Series:
    """A line of a chart, optionally within a band.

    Parameters
    ----------
    name
        Name for the legend.
    points
        Times and values; None breaks the line.
    low, high
        Ends of the band at the same times; empty for no band. Infinite ends are drawn at the edge.
    is_step
        Whether a value stays until the next one, instead of changing evenly.
    """

    name: str
    points: Points
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()
    is_step: bool = False


@dataclass(frozen=True)
class Timeline:
    """A chart of one or several series over the same time.

    Parameters
    ----------
    label
        What the chart shows, for people who cannot see it.
    format_value
        Function that formats a value for the axis.
    bottom, top
        Ends of the axis; None to derive them from the values.
    limit
        Value of a dashed line, and its name for the legend.

    Examples
    --------
    >>> start = datetime(2026, 1, 1, 12)
    >>> series = Series("candidate", [(start, 0.1), (start.replace(hour=13), 0.5)], is_step=True)
    >>> html = Timeline("Weights", [series], str, bottom=0.0, top=1.0).html()
    >>> '<polyline class="c0" points="0.0,180.0 1000.0,180.0 1000.0,100.0"' in html
    True
    """

    label: str
    series: Sequence[Series]
    format_value: Callable[[float], str]
    bottom: float | None = None
    top: float | None = None
    limit: tuple[float, str] | None = None

    def html(self) -> str:
        """Return the chart as HTML; a sentence if there is nothing to draw."""
        times = [moment for series in self.series for moment, _ in series.points]
        if not times:
            return '<p class="empty">Nothing has been measured so far.</p>'
        start, end = min(times), max(times)
        bottom, top = self._axis()
        drawn = "".join(
            self._draw(number, series, start, end, bottom, top) for number, series in enumerate(self.series)
        )
        if self.limit is not None:
            height = _y(self.limit[0], bottom, top)
            drawn += f'<line class="limit" x1="0" x2="{_WIDTH:.0f}" y1="{height:.1f}" y2="{height:.1f}"/>'
        ends = f"<span>{_time(start, end)}</span><span>{_time(end, start)} UTC</span>"
        return (
            f'<div class="plot"><div class="axis"><span>{escape(self.format_value(top))}</span>'
            f"<span>{escape(self.format_value(bottom))}</span></div>"
            f'<svg viewBox="0 0 {_WIDTH:.0f} {_HEIGHT:.0f}" preserveAspectRatio="none" role="img" '
            f'aria-label="{escape(self.label, quote=True)}">{drawn}</svg><div class="ends">{ends}</div></div>'
            f'<div class="legend">{self._legend()}</div>'
        )

    def _axis(self) -> tuple[float, float]:
        """Return the ends of the axis. Of a band, only the newer half must fit: the first intervals are very wide."""
        values = [value for series in self.series for _, value in series.points if value is not None]
        for series in self.series:
            for ends in (series.low, series.high):
                values += [value for value in ends[len(ends) // 2 :] if value is not None]
        if self.limit is not None:
            values.append(self.limit[0])
        finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
        low, high = min(finite), max(finite)
        margin = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
        bottom, top = low - margin, high + margin
        if low >= 0:
            # The axis of a rate ends at 0 and 1, and that of a duration at 0.
            bottom, top = max(bottom, 0.0), min(top, 1.0) if 0 < high <= 1 else top
        return bottom if self.bottom is None else self.bottom, top if self.top is None else self.top

    def _draw(self, number: int, series: Series, start: datetime, end: datetime, bottom: float, top: float) -> str:
        xs = [_x(moment, start, end) for moment, _ in series.points]
        drawn = ""
        if series.low and series.high:
            upper = [
                (x, _y(math.inf if value is None else value, bottom, top))
                for x, value in zip(xs, series.high, strict=True)
            ]
            lower = [
                (x, _y(-math.inf if value is None else value, bottom, top))
                for x, value in zip(xs, series.low, strict=True)
            ]
            drawn += f'<polygon class="c{number % 6}" points="{_text(upper + lower[::-1])}"/>'
        for part in _parts(series, xs):
            line = [(x, _y(value, bottom, top)) for x, value in part]
            if len(line) == 1:
                # A single measurement is a short dash.
                line = [(max(line[0][0] - 4, 0.0), line[0][1]), (min(line[0][0] + 4, _WIDTH), line[0][1])]
            drawn += f'<polyline class="c{number % 6}" points="{_text(line)}"/>'
        return drawn

    def _legend(self) -> str:
        names = [(f"c{number % 6}", series.name) for number, series in enumerate(self.series)]
        if self.limit is not None:
            names.append(("limit", self.limit[1]))
        return "".join(f'<span><i class="{color}"></i>{escape(name)}</span>' for color, name in names)


def _parts(series: Series, xs: Sequence[float]) -> list[list[tuple[float, float]]]:
    """Return the unbroken parts of a line; a step has a corner at each change."""
    parts: list[list[tuple[float, float]]] = [[]]
    for x, (_, value) in zip(xs, series.points, strict=True):
        if value is None:
            parts.append([])
            continue
        if series.is_step and parts[-1]:
            parts[-1].append((x, parts[-1][-1][1]))
        parts[-1].append((x, value))
    return [part for part in parts if part]


def _x(moment: datetime, start: datetime, end: datetime) -> float:
    length = (end - start).total_seconds()
    return _WIDTH * (moment - start).total_seconds() / length if length > 0 else _WIDTH / 2


def _y(value: float, bottom: float, top: float) -> float:
    share = (value - bottom) / (top - bottom) if top > bottom else 0.5
    return _HEIGHT * (1 - min(max(share, 0.0), 1.0))


def _text(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _time(moment: datetime, other: datetime) -> str:
    """Return a time for the axis, with its date if the other end is on another day."""
    return f"{moment:%H:%M:%S}" if moment.date() == other.date() else f"{moment:%d %b %H:%M}"
