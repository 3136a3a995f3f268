"""The report of a validation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_mlops.lifecycle.reports.report import Report

if TYPE_CHECKING:
    from airflow_provider_mlops.lifecycle.scoring.evaluation import Evaluation
    from airflow_provider_mlops.lifecycle.validate.gates import GateResult

_ORDER = {"failed": 0, "inconclusive": 1, "passed": 2}


def report(evaluation: Evaluation, verdict: str, results: list[GateResult]) -> Report:
    """Write up a verdict: why, gate by gate, those that stand in the way first."""
    page = Report("Model validation", f"{evaluation.model}, target {evaluation.target}")
    numbers = {word: sum(result.verdict == word for result in results) for word in _ORDER}
    count = ", ".join(f"{number} {word}" for word, number in numbers.items() if number)
    page.verdict(verdict, f"Of {len(results)} gates: {count}.")
    ordered = sorted(results, key=lambda result: _ORDER[result.verdict])
    page.section("Gates").table(
        ["gate", "verdict", "reason"], [[result.gate, result.verdict, result.reason] for result in ordered]
    )
    page.section("Numbers").table(
        ["gate", "number", "value"],
        [[result.gate, name, value] for result in results for name, value in result.values.items()],
    )
    champion = evaluation.champion
    page.section("Evaluation").text(
        f"On {evaluation.rows:,} rows of {evaluation.dataset_name}, {evaluation.created_at:%d %B %Y}: "
        f"{evaluation.champion_note}."
    ).table(
        ["metric", "model", "baseline", "champion"],
        [
            [name, value, evaluation.baseline.metrics.get(name), champion.metrics.get(name) if champion else None]
            for name, value in evaluation.metrics.items()
        ],
    )
    return page
