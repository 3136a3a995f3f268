"""Whether the gateway was told to stop."""

from __future__ import annotations

import signal
from types import FrameType


class Stop:
    """Whether the gateway was told to stop, by SIGTERM or Ctrl-C."""

    def __init__(self) -> None:
        self.is_set = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._set)

    def _set(self, number: int, frame: FrameType | None) -> None:
        self.is_set = True
