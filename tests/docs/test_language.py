"""Plain English: no string of the package, no DAG and no page may use a phrase that readers have to read twice.

`docs/project/style.md` explains the rules. To see the findings of one folder:

    pytest tests/docs/test_language.py -k lifecycle/extract
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PHRASES = {
    r"\b(lie|lies|lay) (at|under|in|on|with|there|where|here|behind|beside|next)\b": "is stored in, is in, is at",
    r"(?<!must )\blie between\b|\blies? within\b": "is between",
    r"(?<!there )\b(is|are|was|were) no (?!longer\b|more\b|less\b|one\b|worse\b|better\b|doubt\b|way\b)\w+": "is not a",
    r"\bunder way\b": "in progress, running, in flight",
    r"\bwhoever\b|\bwhichever\b": "anyone who, any",
    r"\b(is|are|was|were) away\b": "is unavailable",
    r"\banew\b": "again",
    r"\bfor ever\b": "forever, indefinitely",
    r"\b(told|tell|tells|telling) \w+ apart\b|\btold apart\b|\btell apart\b": "distinguish",
    r"\bby now\b|\bas yet\b|\bhitherto\b|\bmeanwhile\b": "so far, in the meantime",
    r"\bshall\b": "should, will",
    r"\bin place of\b": "instead of",
    r"\b(is|are) the (least|most)\b(?! \w)": "at least, at most",
    r"\b(be|is|are|were) rid of\b": "delete, drop",
    r"\bbeside\b": "next to, besides, in addition to, with",
    r"\bgoes by\b|\bgo by\b": "depends on, is based on",
    r"\b(is|are|was|were|be|been) looked at\b": "is checked, is evaluated",
    r"\bwhat (has |have )?(came|come|comes|becomes) (out|of)\b": "the result of, the outcome of",
    r"\bfor so long\b|\bso many (requests|rows|seconds)\b": "this many, this long",
    r"\ba (message|line|object|row|record|file|number|key|folder|task|step) a \w+\b": "one … per …",
    r"\bone \w+( \w+)? an? (line|row|request|second|field|version|task|process|run|file|day)\b": "one … per …",
    r"\b(somebody|nobody|everybody) (else )?\b": "someone, no one, everyone",
    r"\bthereof|\bwherein\b|\bwhereby\b|\bthither\b|\btherein\b|\bthereby\b": "of it, in which",
    r"\b(has|have|had) to have (come|been)\b": "must arrive",
    r"\bnone (is|are) (known|there|given)\b": "if there is none",
    r"(^|[.;:] )(?-i:Where) (it|there|that|this|the|a|an|none|no|nothing|one|they)\b": "If",
    r"\bof whose\b|\bby whose\b": "whose",
    r"\blonger than nothing\b": "positive",
    r"(?<!-)\b(behaviour|colour|favour|neighbour|centre|grey|catalogue|judgement|labelled|modelled)\w*\b": "American",
    r"\b(normalis|randomis|optimis|initialis|serialis|recognis|summaris|standardis|minimis|maximis|organis)\w+": "-ize",
}
"""Phrases that are not used, as regular expressions, and what to write instead."""

DESCRIPTION = r"(Of|That|What|Where|By|Which|From) "
"""How the description of a field, and the first line of a docstring, must not begin."""


def python_files() -> list[Path]:
    return sorted([*ROOT.glob("airflow_provider_mlops/**/*.py"), *ROOT.glob("dags/**/*.py"), *ROOT.glob("demo/*.py")])


def pages() -> list[Path]:
    top = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")]
    written = [*top, *ROOT.glob("docs/**/*.md"), *ROOT.glob("dags/**/*.md")]
    return sorted(path for path in written if path.exists() and "_build" not in path.parts and path.name != "style.md")


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Every string of a Python file with its line; the pieces of an f-string are one text."""
    tree = ast.parse(path.read_text())
    within = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in within:
            yield node.lineno, node.value
        elif isinstance(node, ast.JoinedStr):
            pieces = [part.value if isinstance(part, ast.Constant) else "…" for part in node.values]
            yield node.lineno, "".join(map(str, pieces))


def beginnings(path: Path) -> Iterator[tuple[int, str]]:
    """The first lines of docstrings, and the descriptions of fields."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node)
            if docstring:
                yield getattr(node, "lineno", 1), docstring.splitlines()[0]
        elif isinstance(node, ast.keyword) and node.arg in ("description", "help"):
            value = node.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield value.lineno, value.value


def findings(text: str) -> Iterator[str]:
    flat = " ".join(re.sub(r"```.*?```", " ", text, flags=re.DOTALL).split())
    for pattern, instead in PHRASES.items():
        for match in re.finditer(pattern, flat, re.IGNORECASE):
            yield f"{match.group(0)!r} in '…{flat[max(0, match.start() - 40) : match.end() + 40]}…': write {instead!r}"


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", python_files(), ids=name_of)
def test_the_strings_of_a_file_are_plain_english(path: Path) -> None:
    found = [f"{name_of(path)}:{line}: {finding}" for line, text in texts(path) for finding in findings(text)]
    found += [
        f"{name_of(path)}:{line}: begins with {text.split()[0]!r}: {text[:80]!r}"
        for line, text in beginnings(path)
        if re.match(DESCRIPTION, text)
    ]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize("path", pages(), ids=name_of)
def test_a_page_is_plain_english(path: Path) -> None:
    found = [f"{name_of(path)}: {finding}" for finding in findings(path.read_text())]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    "sentence",
    [
        "MLflow is away.",
        "The file lies under the storage URI.",
        "It is no column of the dataset.",
        "A rollout is under way.",
        "The step shall fail.",
        "One JSON object a line.",
    ],
)
def test_a_phrase_that_is_not_plain_is_found(sentence: str) -> None:
    assert list(findings(sentence))


@pytest.mark.parametrize(
    "sentence", ["There is no such metric.", "It is no longer served.", "It must lie between 0 and 1.", "3 of 4 rows"]
)
def test_a_plain_sentence_passes(sentence: str) -> None:
    assert not list(findings(sentence))
