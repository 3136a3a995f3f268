"""Reports of steps: self-contained HTML files.

A report can be mailed, stored for years and opened offline. It contains its styles, its plots are embedded SVG, no
script runs, and all values from data are escaped. It is readable on a phone, in a light and a dark color scheme.
"""

from __future__ import annotations

import base64
import io
import math
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Any, Self

from airflow_provider_mlops.data import storage
from airflow_provider_mlops.lifecycle.reports.style import STYLE
from airflow_provider_mlops.lifecycle.reports.timeline import Timeline

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_GOOD = frozenset({"passed", "approved", "ok", "healthy", "succeeded", "deployed", "done", "promoted"})
_BAD = frozenset({"failed", "rejected", "alarm", "error", "broken", "rolled back"})
_DOUBTFUL = frozenset({"warned", "warning", "inconclusive", "suspicious", "attention", "skipped", "held", "paused"})


@dataclass(frozen=True)
class Card:
    """A small box about one item: its name, a few facts and optionally its distribution as bars.

    Parameters
    ----------
    title
        Name of the item.
    subtitle
        A line below the title.
    facts
        Pairs of a label and a value.
    bars
        Pairs of the label of a bar and its height, in the order to draw them. Heights are not negative.
    range
        Labels of the left and the right end of the bars.
    mark
        Text that is shown as a badge, for example "suspected leakage".

    Examples
    --------
    >>> card = Card("age", facts=[("mean", 41.2)], bars=[("18 to 40", 12.0), ("40 to 62", 9.0)])
    >>> '<h3 title="age">age</h3>' in Report("Analysis").cards([card]).html()
    True
    """

    title: str
    subtitle: str = ""
    facts: Sequence[tuple[str, object]] = ()
    bars: Sequence[tuple[str, float]] = ()
    range: tuple[str, str] = ("", "")
    mark: str = ""


@dataclass
class Report:
    """A report, built from top to bottom. Every method returns the report, so that calls can be chained.

    >>> report = Report("Evaluation", "churn, version 3").verdict("approved", "All gates passed.")
    >>> html = report.section("Metrics").table(["metric", "value"], [["accuracy", 0.951]]).html()
    >>> '<h2 id="metrics">Metrics</h2>' in html
    True
    """

    title: str
    subtitle: str = ""
    _parts: list[str] = field(default_factory=list, repr=False)
    _sections: list[tuple[str, str]] = field(default_factory=list, repr=False)

    def verdict(self, word: str, sentence: str) -> Self:
        """Add a banner with one word, colored by its meaning (passed, rejected, inconclusive...), and a sentence."""
        lowered = word.lower()
        color = "neutral"
        for name, words in (("good", _GOOD), ("bad", _BAD), ("doubtful", _DOUBTFUL)):
            if lowered in words:
                color = name
        return self._add(
            f'<div class="verdict {color}"><strong>{escape(word)}</strong><span>{escape(sentence)}</span></div>'
        )

    def section(self, title: str) -> Self:
        """Start a section. A report with three sections or more lists them at the top."""
        taken = {anchor for _, anchor in self._sections}
        slug = anchor = "-".join("".join(c if c.isalnum() else " " for c in title.lower()).split()) or "section"
        number = 2
        while anchor in taken:
            anchor, number = f"{slug}-{number}", number + 1
        self._sections.append((title, anchor))
        return self._add(f'<h2 id="{escape(anchor)}">{escape(title)}</h2>')

    def text(self, text: str) -> Self:
        """Add paragraphs of Markdown. HTML in it is shown as text, and images are not loaded."""
        from markdown_it import MarkdownIt

        markdown = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
        return self._add(f'<div class="text">{markdown.render(text)}</div>')

    def table(self, headers: Sequence[str], rows: Iterable[Sequence[object]], caption: str = "") -> Self:
        """Add a table. Numbers are rounded and right-aligned; None is shown as a dash.

        If all headers are empty, the table has no header row.
        """
        rows = [tuple(row) for row in rows]
        numeric = [bool(rows) and all(_is_number(row[place]) for row in rows) for place in range(len(headers))]
        cells = "".join(
            f'<th scope="col"{" class=number" if right else ""}>{escape(header)}</th>'
            for header, right in zip(headers, numeric, strict=True)
        )
        head = f"<thead><tr>{cells}</tr></thead>" if any(headers) else ""
        body = "".join("<tr>" + "".join(_cell(value) for value in row) + "</tr>" for row in rows)
        title = f"<caption>{escape(caption)}</caption>" if caption else ""
        if not body:
            body = f'<tr><td class="empty" colspan="{max(1, len(headers))}">no rows</td></tr>'
        return self._add(f'<div class="wide" tabindex="0"><table>{title}{head}<tbody>{body}</tbody></table></div>')

    def figure(self, figure: Figure, caption: str) -> Self:
        """Add a matplotlib figure as SVG, and close the figure."""
        import matplotlib

        buffer = io.BytesIO()
        with matplotlib.rc_context({"svg.hashsalt": "airflow-provider-mlops"}):
            figure.savefig(buffer, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None})
        if "matplotlib.pyplot" in sys.modules:
            sys.modules["matplotlib.pyplot"].close(figure)
        # The ids of two inline figures would collide; those of images are separate.
        data = base64.b64encode(buffer.getvalue()).decode()
        return self._add(
            f'<figure><img alt="{escape(caption, quote=True)}" src="data:image/svg+xml;base64,{data}">'
            f"<figcaption>{escape(caption)}</figcaption></figure>"
        )

    def cards(self, cards: Iterable[Card]) -> Self:
        """Add cards side by side, as many per row as fit."""
        return self._add('<div class="cards">' + "".join(_card(card) for card in cards) + "</div>")

    def bars(self, bars: Sequence[tuple[str, float]], caption: str = "") -> Self:
        """Add horizontal bars with their numbers, for example shares. Negative ones have another color."""
        top = max((abs(length) for _, length in bars), default=0.0) or 1.0
        lines = "".join(
            f'<span class="name">{escape(name)}</span><span class="track"><i '
            f'class="{"minus" if length < 0 else "plus"}" '
            f'style="width:{100 * abs(length) / top:.1f}%"></i></span><b>{escape(format_value(length))}</b>'
            for name, length in bars
        )
        title = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
        return self._add(f'<figure><div class="bars">{lines}</div>{title}</figure>')

    def timeline(self, timeline: Timeline, caption: str = "") -> Self:
        """Add a chart of values over time."""
        title = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
        return self._add(f"<figure>{timeline.html()}{title}</figure>")

    def html(self, refresh_seconds: int | None = None) -> str:
        """Return the whole document.

        Parameters
        ----------
        refresh_seconds
            Time after which a browser loads the document again, for a report of something that is in progress.
        """
        contents = ""
        if len(self._sections) >= 3:
            links = "".join(f'<a href="#{escape(anchor)}">{escape(title)}</a>' for title, anchor in self._sections)
            contents = f'<nav aria-label="Contents">{links}</nav>'
        subtitle = f'<p class="subtitle">{escape(self.subtitle)}</p>' if self.subtitle else ""
        refresh = "" if refresh_seconds is None else f'<meta http-equiv="refresh" content="{refresh_seconds}">'
        created = datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC")
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            '<meta name="color-scheme" content="light dark">'
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
            f"img-src data:; style-src 'unsafe-inline'\">{refresh}"
            f"<title>{escape(self.title)}</title><style>{STYLE}</style></head><body><main>"
            f"<header><h1>{escape(self.title)}</h1>{subtitle}</header>{contents}"
            f"{''.join(self._parts)}<footer>Created on {created} by "
            "airflow-provider-mlops</footer></main></body></html>\n"
        )

    def write(self, uri: str) -> str:
        """Write the document to `uri` and return the URI."""
        storage.write_text(uri, self.html())
        return uri

    def _add(self, part: str) -> Self:
        self._parts.append(part)
        return self


def format_number(value: float) -> str:
    """Format a number for people: with thousands separators and four significant digits.

    >>> [format_number(x) for x in (1234567, 0.123456, 1234.5678, 1.5e-9, 3.0, float("nan"))]
    ['1,234,567', '0.1235', '1,235', '1.5e-09', '3', 'not a number']
    """
    if isinstance(value, int):
        return f"{value:,}"
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "infinity" if value > 0 else "-infinity"
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e15:
        return f"{value:.4g}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def format_value(value: object) -> str:
    """Format any value as the text of a cell."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if _is_number(value):
        return format_number(value.item() if hasattr(value, "item") else value)  # type: ignore[arg-type]
    return str(value)


def _is_number(value: Any) -> bool:
    # NumPy's scalars count as numbers without importing NumPy.
    plain = value.item() if type(value).__module__ == "numpy" and hasattr(value, "item") and value.ndim == 0 else value
    return isinstance(plain, int | float) and not isinstance(plain, bool)


def _cell(value: object) -> str:
    kind = ' class="number"' if _is_number(value) else ""
    return f"<td{kind}>{escape(format_value(value))}</td>"


def _card(card: Card) -> str:
    mark = f'<span class="badge">{escape(card.mark)}</span>' if card.mark else ""
    subtitle = f"<p>{escape(card.subtitle)}</p>" if card.subtitle else ""
    facts = "".join(f"<dt>{escape(label)}</dt><dd>{escape(format_value(value))}</dd>" for label, value in card.facts)
    return (
        f'<section class="card"><h3 title="{escape(card.title, quote=True)}">{escape(card.title)}{mark}</h3>{subtitle}'
        f"{_bars(card)}<dl>{facts}</dl></section>"
    )


def _bars(card: Card) -> str:
    if not card.bars:
        return ""
    top = max(height for _, height in card.bars) or 1.0
    width = 240 / len(card.bars)
    drawn = "".join(
        # A bar with any value has a minimum height, so that a rare value is visible.
        f'<rect x="{index * width:.2f}" y="{60 - (tall := max(60 * height / top, 0.8 if height else 0.0)):.2f}" '
        f'width="{max(width - 1, 0.5):.2f}" height="{tall:.2f}">'
        f"<title>{escape(name)}: {escape(format_value(height))}</title></rect>"
        for index, (name, height) in enumerate(card.bars)
    )
    ends = ""
    if any(card.range):
        ends = f'<div class="ends"><span>{escape(card.range[0])}</span><span>{escape(card.range[1])}</span></div>'
    return (
        '<svg viewBox="0 0 240 60" preserveAspectRatio="none" role="img" aria-label="Distribution of '
        f'{escape(card.title, quote=True)}">{drawn}</svg>{ends}'
    )
