"""What came of the traffic."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_mlops.serving.traffic.durations import Durations


@dataclass
class Labels:
    """What became of labels and rewards; one of both for the same prediction counts once.

    :ivar due: all that were to be sent.
    :ivar acknowledged: that the gateway has.
    :ivar lost: that it refused, or did not acknowledge in time.
    :ivar unsent: that were not sent because the replay was stopped.
    """

    due: int = 0
    acknowledged: int = 0
    lost: int = 0

    @property
    def unsent(self) -> int:
        """Those that are neither acknowledged nor lost; while the replay goes on: those that wait."""
        return self.due - self.acknowledged - self.lost


@dataclass
class Summary:
    """What came of the traffic, up to now while it goes on.

    :ivar requests: that were sent.
    :ivar answered: that were answered with a prediction.
    :ivar rows: that were predicted.
    :ivar refused: answers that were none, by their HTTP status.
    :ivar failed: requests without an answer: `connection` where there was none or it was lost, `timeout`, or `stopped`.
    :ivar unsent: that were due within `seconds` and not sent, since all clients waited for answers.
    :ivar latency: from sending to the whole answer, of those that were answered with a prediction.
    :ivar behind: from the time at which a request was due to its sending.
    :ivar versions: how many requests each version of the model has answered.
    :ivar seconds: from the start to the last answer.
    :ivar stopped: whether it was ended before it was through.
    :ivar problem: what the first refusal or failure said.
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
        """All requests that brought no prediction."""
        return self.refused.total() + self.failed.total()

    def as_json(self) -> dict[str, Any]:
        """The numbers by name; durations in milliseconds, keys are text."""
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
        """The same for people."""
        numbers = self.as_json()
        labels = self.labels
        lines = [
            f"requests  {self.requests:,} in {self.seconds:.1f} s ({numbers['requests_per_second']:.1f}/s), "
            f"{self.answered:,} answered, {self.rows:,} rows",
            f"latency   {_shown(numbers['latency_ms'])}",
            f"behind    {_shown(numbers['behind_ms'])}",
            "versions  " + (", ".join(f"{name}: {count:,}" for name, count in numbers["versions"].items()) or "none"),
        ]
        if labels.due:
            lines.append(
                f"labels    {labels.acknowledged:,} acknowledged, {labels.lost:,} lost, {labels.unsent:,} unsent"
            )
        if self.refused:
            lines.append(
                "refused   " + ", ".join(f"{count:,} with {name}" for name, count in numbers["refused"].items())
            )
        if self.failed:
            lines.append("failed    " + ", ".join(f"{count:,} by {name}" for name, count in numbers["failed"].items()))
        if self.unsent:
            lines.append(f"unsent    {self.unsent:,}: more clients are needed to keep this rate")
        if self.problem:
            lines.append(f"problem   {self.problem}")
        return lines


def _shown(milliseconds: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.1f} ms" for name, value in milliseconds.items())
