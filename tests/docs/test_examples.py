"""The examples of the documentation: each of them can be pasted as it is, into a DAG file or within a DAG."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("airflow.sdk", reason="the examples are DAGs, which need Airflow")

DOCS = Path(__file__).parents[2] / "docs"


def examples() -> list[Any]:
    found = []
    for page in (DOCS.parent / "README.md", *sorted(DOCS.rglob("*.md"))):
        for number, block in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL), start=1):
            if "airflow" in block:
                found.append(pytest.param(block, id=f"{page.relative_to(DOCS.parent)}-{number}"))
    return found


@pytest.mark.parametrize("example", examples())
def test_an_example_is_a_dag_that_can_be_parsed(example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow.sdk import DAG

    if "prediction_log.read" in example:
        example = example.replace("/opt/airflow/mlops", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    whole = "with DAG(" in example or "@dag" in example
    # A function in an example is sent to the step as its source, which needs a file.
    path = tmp_path / "example.py"
    path.write_text(example)
    code = compile(example, str(path), "exec")
    if whole:
        exec(code, {"__name__": "example"})
        return
    with DAG("example", schedule=None):
        exec(code, {"__name__": "example"})


def test_every_step_has_a_page_that_says_the_same_things() -> None:
    from airflow_provider_mlops.step_names import STEPS

    for step in STEPS:
        text = (DOCS / "reference" / "steps" / f"{step}.md").read_text()
        headings = ("## When to use it", "## Example", "## Fields", "## Results", "## What can go wrong")
        places = [text.index(heading) for heading in headings]
        assert places[:2] == sorted(places[:2]), step
        assert f"<!-- fields of {step} -->" in text
        assert f"<!-- results of {step} -->" in text
