"""Data Docs that need no network: the pages of Great Expectations with local styles and without scripts.

Great Expectations loads Bootstrap, jQuery, Vega, fonts and its logo from third-party servers, and writes values from
the data into the page without escaping them. Here values are escaped before the page is rendered, everything that a
browser would fetch is removed, and a few lines of CSS replace Bootstrap.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.data import storage

if TYPE_CHECKING:
    from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResult

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --good: #1a7f37; --bad: #cf222e; --doubtful: #9a6700; }
@media (prefers-color-scheme: dark) { :root { --good: #3fb950; --bad: #f85149; --doubtful: #d29922; } }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 76rem; padding: 1rem; background: Canvas;
  color: CanvasText; }
a { color: LinkText; }
.row { display: flex; flex-wrap: wrap; gap: 0 1rem; }
.row > [class*="col-lg-2"] { flex: 0 0 14rem; }
.row > [class*="col-lg-10"] { flex: 1 1 30rem; min-width: 0; }
.row > .col-12 { flex: 1 1 100%; }
.row > .col-6 { flex: 1 1 18rem; }
.sticky { position: sticky; top: 1rem; }
.alert, .card-header { background: var(--soft); border-left: 4px solid var(--line); padding: .5rem .75rem; }
.card { border: 1px solid var(--line); border-radius: 6px; margin-bottom: 1rem; overflow: hidden; }
.card-body { padding: .5rem .75rem; }
.table-responsive, .show-scrollbars { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: .35rem .6rem; text-align: left; vertical-align: top; }
td { overflow-wrap: anywhere; }
.badge { background: var(--soft); border: 1px solid var(--line); border-radius: 4px; padding: 0 .3rem; }
.text-success { color: var(--good); } .text-danger { color: var(--bad); } .text-warning { color: var(--doubtful); }
.fa-check-circle::before { content: "\\2713\\A0 passed"; } .fa-times::before { content: "\\2717\\A0 failed"; }
.fa-exclamation-triangle::before { content: "\\26A0\\A0 error"; }
.h6 ~ .fa-check-circle::before, .h6 ~ .fa-times::before { content: ""; }
i { font-style: normal; white-space: nowrap; }
ul, ol { padding-left: 1.2rem; margin: .3rem 0; }
nav ul, .breadcrumb { list-style: none; padding: 0; }
nav.site { border-bottom: 1px solid var(--line); margin-bottom: 1rem; padding-bottom: .5rem; }
.collapse { display: block; }
.severity { margin-left: .4rem; font-size: .85em; opacity: .75; }
h4, h5, h6 { margin: .3rem 0; }
@media (max-width: 50rem) { .sticky { position: static; } td, th { padding: .3rem; } }
"""


def write_docs(uri: str, result: ExpectationSuiteValidationResult, suite: Any, title: str) -> str:
    """Write `index.html` (the result) and `expectations.html` (the suite), and return the URI of the first."""
    index = storage.join(uri, "index.html")
    storage.write_text(storage.join(uri, "expectations.html"), suite_page(suite, title))
    storage.write_text(index, result_page(result, title))
    return index


def result_page(result: ExpectationSuiteValidationResult, title: str) -> str:
    """Render the page of a validation's result."""
    from great_expectations.core.expectation_validation_result import (
        ExpectationSuiteValidationResult,
        expectationSuiteValidationResultSchema,
    )
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer

    schema: Any = expectationSuiteValidationResultSchema
    plain = schema.load(_escaped(_plain(result)))
    safe = plain if isinstance(plain, ExpectationSuiteValidationResult) else ExpectationSuiteValidationResult(**plain)
    # The renderer needs a run id, which some versions of Great Expectations set only in results of a checkpoint.
    run: Any = {"run_name": escape(title), "run_time": datetime.now(UTC).isoformat()}
    safe.meta.setdefault("run_id", run)
    return _page(ValidationResultsPageRenderer(run_info_at_end=True).render(safe), title)


def suite_page(suite: Any, title: str) -> str:
    """Render the page of the suite."""
    from great_expectations import ExpectationSuite
    from great_expectations.render.renderer.page_renderer import ExpectationSuitePageRenderer

    plain = _escaped(_plain(suite))
    for expectation in plain["expectations"]:
        expectation.pop("id", None)
    safe = ExpectationSuite(name=plain["name"], expectations=plain["expectations"], meta=plain.get("meta"))
    renderer: Any = ExpectationSuitePageRenderer()
    return _page(renderer.render(safe), title)


# Names that Great Expectations uses for lookups. Data cannot choose them, so they need no escaping.
_LOOKUP_NAMES = frozenset({"type", "expectation_type", "severity", "operator", "condition_parser"})


def _escaped(value: Any) -> Any:
    """Return the same JSON with every text escaped for HTML."""
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, dict):
        return {
            escape(key) if isinstance(key, str) else key: part if key in _LOOKUP_NAMES else _escaped(part)
            for key, part in value.items()
        }
    if isinstance(value, list | tuple):
        return [_escaped(part) for part in value]
    return value


def _plain(result: Any) -> dict[str, Any]:
    """Return the result as plain JSON: its own JSON contains NumPy numbers, which the renderer cannot show."""
    content: dict[str, Any] = json.loads(json.dumps(result.to_json_dict(), default=str))
    return content


def _page(document: Any, title: str) -> str:
    from great_expectations.render.view.view import DefaultJinjaPageView

    view: Any = DefaultJinjaPageView()
    return self_contained(view.render(document), title)


def self_contained(html: str, title: str) -> str:
    """Remove everything from a page of Great Expectations that a browser would fetch or run.

    >>> "http" in self_contained('<body><script src="https://a/b.js"></script><p>kept</p></body>', "rows")
    False
    """
    body = html[html.index("<body") : html.rindex("</body>")].split(">", 1)[1]
    for element in ("script", "style", "iframe", "object"):
        body = re.sub(rf"<{element}\b.*?</{element}\s*>", "", body, flags=re.DOTALL | re.IGNORECASE)
    body = re.sub(r"<(?:link|img|meta|base|embed)\b[^>]*>", "", body, flags=re.IGNORECASE)
    # The top bar has the logo and links to other pages; the filter and the footer need scripts and servers.
    body = re.sub(r'<nav class="navbar navbar-expand.*?</nav>\s*</div>\s*</nav>', "", body, count=1, flags=re.DOTALL)
    body = re.sub(
        r'<div class="card mb-3">\s*<div class="card-header p-2">\s*<strong>Actions.*?(?=<div class="card )',
        "",
        body,
        count=1,
        flags=re.DOTALL,
    )
    body = re.sub(r"<footer\b.*?</footer\s*>", "", body, flags=re.DOTALL | re.IGNORECASE)
    body = re.sub(r'\son\w+="[^"]*"', "", body)
    body = re.sub(r'href="(?:\.\./)+expectations/[^"]*"', 'href="expectations.html"', body)
    body = re.sub(r'href="(?:\.\./)+[^"]*"', 'href="index.html"', body)
    # Great Expectations escapes some texts itself, so they are escaped twice here.
    body = re.sub(r"&amp;(lt|gt|quot|amp|#x27|#39);", r"&\1;", body)
    body = re.sub(r'\shref="(?!#|index\.html|expectations\.html)[^"]*"', "", body)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body>"
        f'<nav class="site"><strong>{escape(title)}</strong> · <a href="index.html">Result</a> · '
        f'<a href="expectations.html">Expectations</a></nav>\n{body}\n</body></html>\n'
    )
