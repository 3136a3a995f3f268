"""Rules for the files under the storage URI that a browser may show."""

from __future__ import annotations

import re

KINDS = ("reports", "data_docs", "profiles", "evaluations")
"""Kinds of files that people read. They do not include datasets, models and the prediction log."""

CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".gif": "image/gif",
    ".jpg": "image/jpeg",
    ".ico": "image/x-icon",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".ttf": "font/ttf",
}


def is_served(dag_id: str, path: str) -> bool:
    """Return whether `path`, relative to the storage URI, is a page that a task of the DAG has written.

    >>> is_served("churn", "reports/churn/run_1/analyze/analyze.html")
    True
    >>> is_served("churn", "reports/other/run_1/analyze/analyze.html")
    False
    >>> is_served("churn", "reports/churn/../other/run_1/analyze/analyze.html")
    False
    >>> is_served("churn", "datasets/churn/run_1/extract/customers/part-0.parquet")
    False
    """
    parts = path.split("/")
    if len(parts) < 3 or any(part in ("", ".", "..") for part in parts) or re.search(r"[\\\x00-\x1f]", path):
        return False
    # The directory is the DAG's id, written as in `TaskIdentity.path`.
    directory = re.sub(r"[^A-Za-z0-9._-]", "_", dag_id)
    return parts[0] in KINDS and parts[1] == directory and content_type(path) is not None


def content_type(path: str) -> str | None:
    """Return the content type by file extension; None for an extension that is not served.

    >>> content_type("a/report.html"), content_type("a/rows.parquet")
    ('text/html; charset=utf-8', None)
    """
    _, dot, ending = path.rpartition(".")
    return CONTENT_TYPES.get(f".{ending.lower()}") if dot else None
