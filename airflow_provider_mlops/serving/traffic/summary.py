"""The summary of a replay: counts of requests, answers and labels, and latencies."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TypedDict

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.serving.traffic.durations import Durations, Milliseconds


class LabelsFields(TypedDict):
    """The counts of labels as JSON."""

    due: int
    acknowledged: int
    lost: int
    unsent: int


class SummaryFields(TypedDict):
    """A summary as JSON."""

    requests: int
    answered: int
    rows: int
    refused: dict[str, int]
    failed: dict[str, int]
    unsent: int
    seconds: float
    requests_per_second: float
    latency_ms: Milliseconds
    behind_ms: Milliseconds
    versions: dict[str, int]
    labels: LabelsFields
    stopped: bool
    problem: str | None


@dataclass
class Labels:
    """Counts of labels and rewards. A label and a reward for the same prediction count once.

    Parameters
    ----------
    due
        Number to be sent.
    acknowledged
        Number that the gateway has acknowledged.
    lost
        Number that the gateway refused, or did not acknowledge in time.
    """

    due: int = 0
    acknowledged: int = 0
    lost: int = 0

    @property
    def unsent(self) -> int:
        """Number that is neither acknowledged nor lost: waiting, or not sent because the replay was stopped."""
        return self.due - self.acknowledged - self.lost


@dataclass
class Summary:
    """The outcomes of a replay; during the replay, those so far.

    Parameters
    ----------
    requests
        Number of requests sent.
    answered
        Number of requests answered with a prediction.
    rows
        Number of rows predicted.
    refused
        Number of other responses, by HTTP status.
    failed
        Number of requests without a response, by cause: `connection`, `timeout` or `stopped`.
    unsent
        Number of requests that were due within `seconds` but not sent, because all clients were waiting for responses.
    latency
        Times from sending a request to its complete response, for requests answered with a prediction.
    behind
        Delays between the time at which a request was due and its sending.
    versions
        Number of requests that each version of the model answered.
    seconds
        Time from the start to the last response.
    stopped
        Whether the replay was stopped early.
    problem
        Message of the first refusal or failure.
    """

    requests: int = 0
    answered: int = 0
    rows: int = 0
    refused: Counter[int] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    unsent: int = 0
    latency: Durations = field(default_factory=Durations)
    behind: Durations = field(default_factory=Durations)
    versions: Counter[int] = field(default_factory=Counter)
    labels: Labels = field(default_factory=Labels)
    seconds: float = 0.0
    stopped: bool = False
    problem: str | None = None

    @property
    def errors(self) -> int:
        """Number of requests without a prediction."""
        return self.refused.total() + self.failed.total()

    def as_json(self) -> SummaryFields:
        """Return the summary as JSON, with durations in milliseconds."""
        return {
            "requests": self.requests,
            "answered": self.answered,
            "rows": self.rows,
            "refused": {str(status): count for status, count in sorted(self.refused.items())},
            "failed": dict(sorted(self.failed.items())),
            "unsent": self.unsent,
            "seconds": round(self.seconds, 3),
            "requests_per_second": round(self.requests / self.seconds, 3) if self.seconds else 0.0,
            "latency_ms": self.latency.milliseconds(),
            "behind_ms": self.behind.milliseconds(),
            "versions": {str(version): count for version, count in sorted(self.versions.items())},
            "labels": {
                "due": self.labels.due,
                "acknowledged": self.labels.acknowledged,
                "lost": self.labels.lost,
                "unsent": self.labels.unsent,
            },
            "stopped": self.stopped,
            "problem": self.problem,
        }

    def lines(self) -> list[str]:
        """Return the summary as lines of text."""
        numbers = self.as_json()
        labels = self.labels
        lines = [
            f"requests  {self.requests:,} in {self.seconds:.1f} s ({numbers['requests_per_second']:.1f}/s), "
            f"{self.answered:,} answered, {pluralize(self.rows, 'row')}",
            f"latency   {_format_durations(numbers['latency_ms'])}",
            f"behind    {_format_durations(numbers['behind_ms'])}",
            "versions  " + (", ".join(f"{name}: {count:,}" for name, count in numbers["versions"].items()) or "none"),
        ]
        if labels.due:
            lines.append(
                f"labels    {labels.acknowledged:,} acknowledged, {labels.lost:,} lost, {labels.unsent:,} unsent"
            )
        if self.refused:
            lines.append(
                "refused   " + ", ".join(f"{count:,} with HTTP {name}" for name, count in numbers["refused"].items())
            )
        if self.failed:
            lines.append("failed    " + ", ".join(f"{count:,} by {name}" for name, count in numbers["failed"].items()))
        if self.unsent:
            lines.append(f"unsent    {self.unsent:,}: use more clients to keep this rate")
        if self.problem:
            lines.append(f"problem   {self.problem}")
        return lines


def _format_durations(durations: Milliseconds) -> str:
    return ", ".join(f"{name} {value:.1f} ms" for name, value in durations.items())
