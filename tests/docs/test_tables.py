"""The tables of fields in the docs say what the Specs say."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_mlops.step_names import STEPS
from docs import tables


@pytest.mark.parametrize("page", tables.pages(), ids=lambda page: page.stem)
def test_the_tables_of_a_page_are_up_to_date(page: Path) -> None:
    assert page.read_text() == tables.updated(page.read_text()), "run `make tables`"


@pytest.mark.parametrize("step", STEPS)
def test_every_step_has_a_page_with_its_fields_and_results(step: str) -> None:
    text = (tables.DOCS / "reference/steps" / f"{step}.md").read_text()
    assert f"<!-- fields of {step} -->" in text
    assert f"<!-- results of {step} -->" in text
