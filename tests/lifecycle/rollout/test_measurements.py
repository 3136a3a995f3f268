"""The file of measurements: it covers the whole rollout, in bounded space, and survives damage."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airflow_provider_mlops.lifecycle.rollout.findings import Finding
from airflow_provider_mlops.lifecycle.rollout.measurements import MAX_MEASUREMENTS, Measurements

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def finding(**fields: object) -> Finding:
    given = {"gate": "error rate", "arm": "candidate", "verdict": "better", "sentence": "", "required": 0.1, **fields}
    return Finding.model_validate(given)


def test_it_stays_small_and_keeps_the_first_and_the_last_check() -> None:
    found = Measurements(rollout_id="a")
    for number in range(5000):
        found.add(NOW + timedelta(seconds=number), [finding(estimate=number)])
        kept = found.of("error rate", "candidate")
        assert len(kept) <= MAX_MEASUREMENTS
        assert kept[-1].estimate == number
    assert len(kept) >= MAX_MEASUREMENTS / 2
    estimates = [each.estimate or 0 for each in kept]
    assert estimates == sorted(estimates)
    assert estimates[0] < 100


def test_gates_that_measure_nothing_are_left_out() -> None:
    found = Measurements(rollout_id="a")
    found.add(NOW, [finding(required=None)])
    assert found.checks == []
    assert found.of("error rate", "candidate") == []


def test_a_missing_damaged_or_foreign_file_starts_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.json"
    assert Measurements.read(str(path), "a").checks == []
    found = Measurements(rollout_id="a")
    found.add(NOW, [finding(estimate=0.2, low=0.1)])
    path.write_text(found.model_dump_json())
    assert Measurements.read(str(path), "a") == found
    assert Measurements.read(str(path), "b").checks == []
    path.write_text('{"rollout_id": "a", "checks": [[')
    with caplog.at_level(logging.WARNING):
        assert Measurements.read(str(path), "a").checks == []
    assert "Ignored the damaged file" in caplog.text
