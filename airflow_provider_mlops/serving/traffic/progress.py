"""The progress of a replay: a bar in a terminal, and a line every few seconds elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from airflow_provider_mlops.data.names import pluralize
from airflow_provider_mlops.serving.traffic.replay import Replay

_LINE_SECONDS = 5.0


class ProgressBar:
    """A progress bar. Use it in a `with` block, and pass it to the Replay as `on_progress`."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None
        self._shown = time.monotonic()

    def __enter__(self) -> Self:
        # Even a disabled bar of Rich 13 prints an empty line when it stops.
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._bar.stop()

    def __call__(self, replay: Replay) -> None:
        """Show the progress of a replay."""
        if self._console.is_terminal:
            if self._task is None:
                self._task = self._bar.add_task("requests", total=replay.expected, numbers="")
            self._bar.update(self._task, completed=replay.summary.requests, numbers=_numbers(replay))
        elif time.monotonic() >= self._shown + _LINE_SECONDS:
            self._shown = time.monotonic()
            self._console.print(_numbers(replay), soft_wrap=True)


def _numbers(replay: Replay) -> str:
    summary = replay.summary
    parts = [pluralize(summary.requests, "request")]
    if summary.seconds:
        parts.append(f"{summary.requests / summary.seconds:,.0f}/s")
    if summary.answered:
        parts.append(f"p99 {1000 * summary.latency.quantile(0.99):.1f} ms")
    if summary.errors:
        parts.append(pluralize(summary.errors, "error"))
    if summary.labels.due:
        parts.append(f"labels {summary.labels.acknowledged:,} of {summary.labels.due:,}")
    return ", ".join(parts)
