"""A report of a step: one HTML file that needs nothing beside it.

It can be mailed, stored for years and opened offline: styles are inside, plots are SVG inside, no
script runs, and whatever comes from data is escaped. It reads on a phone, by day and by night.
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

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_GOOD = frozenset({"passed", "approved", "ok", "healthy", "succeeded", "deployed", "done"})
_BAD = frozenset({"failed", "rejected", "alarm", "error", "broken"})
_DOUBTFUL = frozenset({"warned", "warning", "inconclusive", "suspicious", "attention", "skipped"})


@dataclass(frozen=True)
class Card:
    """A small box about one thing: its name, a few facts and, if it has one, its distribution as bars.

    :param title: the name of the thing.
    :param subtitle: one line under it.
    :param facts: (word, value) pairs.
    :param bars: (what the bar stands for, its height) pairs, in the order to draw; heights are not negative.
    :param range: what the left and the right end of the bars stand for.
    :param mark: a word that is shown as a badge, e.g. "suspected leakage".
    """

    title: str
    subtitle: str = ""
    facts: Sequence[tuple[str, object]] = ()
    bars: Sequence[tuple[str, float]] = ()
    range: tuple[str, str] = ("", "")
    mark: str = ""


@dataclass
class Report:
    """Put together from the top to the bottom; every method returns the report, so that calls chain.

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
        """A banner: one word, coloured by its meaning (passed, rejected, inconclusive...), and what it means."""
        lowered = word.lower()
        colour = "neutral"
        for name, words in (("good", _GOOD), ("bad", _BAD), ("doubtful", _DOUBTFUL)):
            if lowered in words:
                colour = name
        return self._add(
            f'<div class="verdict {colour}"><strong>{escape(word)}</strong><span>{escape(sentence)}</span></div>'
        )

    def section(self, title: str) -> Self:
        """Begin a section. From three sections on, the report has a list of them at the top."""
        taken = {anchor for _, anchor in self._sections}
        slug = anchor = "-".join("".join(c if c.isalnum() else " " for c in title.lower()).split()) or "section"
        number = 2
        while anchor in taken:
            anchor, number = f"{slug}-{number}", number + 1
        self._sections.append((title, anchor))
        return self._add(f'<h2 id="{escape(anchor)}">{escape(title)}</h2>')

    def text(self, text: str) -> Self:
        """Paragraphs of Markdown. HTML in it is shown as text, and images are not loaded."""
        from markdown_it import MarkdownIt

        markdown = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
        return self._add(f'<div class="text">{markdown.render(text)}</div>')

    def table(self, headers: Sequence[str], rows: Iterable[Sequence[object]], caption: str = "") -> Self:
        """A table. Numbers are rounded to what can be read and set to the right; None is a dash.

        Where all headers are empty there is no line for them.
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
            body = f'<tr><td class="empty" colspan="{max(1, len(headers))}">nothing to show</td></tr>'
        return self._add(f'<div class="wide" tabindex="0"><table>{title}{head}<tbody>{body}</tbody></table></div>')

    def figure(self, figure: Figure, caption: str) -> Self:
        """A matplotlib figure, drawn now as SVG; afterwards it is closed."""
        import matplotlib

        buffer = io.BytesIO()
        with matplotlib.rc_context({"svg.hashsalt": "airflow-provider-mlops"}):
            figure.savefig(buffer, format="svg", transparent=True, bbox_inches="tight", metadata={"Date": None})
        if "matplotlib.pyplot" in sys.modules:
            sys.modules["matplotlib.pyplot"].close(figure)
        # As an image, the SVG keeps its ids to itself: those of two inlined figures would collide.
        data = base64.b64encode(buffer.getvalue()).decode()
        return self._add(
            f'<figure><img alt="{escape(caption, quote=True)}" src="data:image/svg+xml;base64,{data}">'
            f"<figcaption>{escape(caption)}</figcaption></figure>"
        )

    def cards(self, cards: Iterable[Card]) -> Self:
        """Cards side by side, as many in a row as there is room for."""
        return self._add('<div class="cards">' + "".join(_card(card) for card in cards) + "</div>")

    def bars(self, bars: Sequence[tuple[str, float]], caption: str = "") -> Self:
        """Lying bars, one a line, with their numbers: shares, associations. Negative ones have another colour."""
        top = max((abs(length) for _, length in bars), default=0.0) or 1.0
        lines = "".join(
            f'<span class="name">{escape(name)}</span>'
            f'<span class="track"><i class="{"minus" if length < 0 else "plus"}" '
            f'style="width:{100 * abs(length) / top:.1f}%"></i></span><b>{escape(format_value(length))}</b>'
            for name, length in bars
        )
        title = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
        return self._add(f'<figure><div class="bars">{lines}</div>{title}</figure>')

    def html(self) -> str:
        """The whole document."""
        contents = ""
        if len(self._sections) >= 3:
            links = "".join(f'<a href="#{escape(anchor)}">{escape(title)}</a>' for title, anchor in self._sections)
            contents = f'<nav aria-label="Contents">{links}</nav>'
        subtitle = f'<p class="subtitle">{escape(self.subtitle)}</p>' if self.subtitle else ""
        made = datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC")
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            '<meta name="color-scheme" content="light dark">'
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
            "img-src data:; style-src 'unsafe-inline'\">"
            f"<title>{escape(self.title)}</title><style>{STYLE}</style></head><body><main>"
            f"<header><h1>{escape(self.title)}</h1>{subtitle}</header>{contents}"
            f"{''.join(self._parts)}<footer>Made on {made} by airflow-provider-mlops</footer></main></body></html>\n"
        )

    def write(self, uri: str) -> str:
        """Write the document to `uri` and return the URI."""
        storage.write_text(uri, self.html())
        return uri

    def _add(self, part: str) -> Self:
        self._parts.append(part)
        return self


def format_number(value: float) -> str:
    """A number as people write it: thousands separated, four significant digits, no noise.

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
    """Any value as the text of a cell."""
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
    facts = "".join(f"<dt>{escape(word)}</dt><dd>{escape(format_value(value))}</dd>" for word, value in card.facts)
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
        # A value that occurs at all is at least a hair high, so that a rare one is not taken for none.
        f'<rect x="{index * width:.2f}" y="{60 - (tall := max(60 * height / top, 0.8 if height else 0.0)):.2f}" '
        f'width="{max(width - 1, 0.5):.2f}" height="{tall:.2f}">'
        f"<title>{escape(name)}: {escape(format_value(height))}</title></rect>"
        for index, (name, height) in enumerate(card.bars)
    )
    ends = ""
    if any(card.range):
        ends = f'<div class="ends"><span>{escape(card.range[0])}</span><span>{escape(card.range[1])}</span></div>'
    return (
        f'<svg viewBox="0 0 240 60" preserveAspectRatio="none" role="img" '
        f'aria-label="Distribution of {escape(card.title, quote=True)}">{drawn}</svg>{ends}'
    )
