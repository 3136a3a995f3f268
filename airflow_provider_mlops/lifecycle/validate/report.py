"""The HTML report of a validation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.lifecycle.reports.report import Report

if TYPE_CHECKING:
    from airflow_provider_mlops.lifecycle.scoring.evaluation import Evaluation
    from airflow_provider_mlops.lifecycle.validate.gate_result import GateResult
    from airflow_provider_mlops.lifecycle.validate.spec import Verdict

_ORDER = {"failed": 0, "inconclusive": 1, "passed": 2}
_SENTENCES: dict[Verdict, str] = {
    "approved": "The model may be deployed: all gates passed.",
    "rejected": "The model must not be deployed: at least one gate failed.",
    "inconclusive": "The model must not be deployed yet: no gate failed, but at least one could not be decided.",
}


def report(evaluation: Evaluation, verdict: Verdict, results: list[GateResult]) -> Report:
    """Return the report of a verdict: the reason of each gate, those that did not pass first."""
    page = Report(f"Validation of {evaluation.model}", f"target {evaluation.target}")
    numbers = {word: sum(result.verdict == word for result in results) for word in _ORDER}
    count = ", ".join(f"{number} {word}" for word, number in numbers.items() if number)
    page.verdict(verdict, f"{_SENTENCES[verdict]} {pluralize(len(results), 'gate')}: {count}.")
    ordered = sorted(results, key=lambda result: _ORDER[result.verdict])
    page.section("Gates").table(
        ["gate", "verdict", "reason"], [[result.gate, result.verdict, result.reason] for result in ordered]
    )
    page.section("Measured values").table(
        ["gate", "measured", "value"],
        [[result.gate, name, value] for result in results for name, value in result.values.items()],
    )
    champion = evaluation.champion
    page.section("Evaluation").text(
        f"Evaluated on {evaluation.created_at:%d %B %Y} with {pluralize(evaluation.rows, 'test row')} of the dataset "
        f"{evaluation.dataset_name}. Champion: {evaluation.champion_note}."
    ).table(
        ["metric", "model", "baseline", "champion"],
        [
            [name, value, evaluation.baseline.metrics.get(name), champion.metrics.get(name) if champion else None]
            for name, value in evaluation.metrics.items()
        ],
    )
    return page
