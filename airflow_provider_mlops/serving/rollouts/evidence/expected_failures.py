"""The rate of failures that the requests just before make likely, so that an outage of all versions is expected."""

from __future__ import annotations

from collections.abc import Mapping

MEMORY = 32
"""Number of requests after which a request counts for about a third. More react late to an outage, fewer to chance."""
LEVELS = 10
"""Number of levels above 0 that the rate is rounded to."""


class ExpectedFailures:
    """Rate of failures of each rollout's last requests, over all versions, in the order of one writer's log.

    The rate before a request says how likely it fails with any version. It depends on earlier requests only,
    so the comparison of the error rates is exact whatever the rate is (`concurrent_rate_difference`). It is rounded, so
    that requests with the same rate can be counted together and replicas add their counts.

    Examples
    --------
    >>> expected = ExpectedFailures()
    >>> levels = []
    >>> for _ in range(100):
    ...     levels.append(expected.level("a rollout"))
    ...     expected.add("a rollout", failed=True)
    >>> levels[0], levels[30], levels[99]
    (0, 6, 10)
    """

    def __init__(self, rates: Mapping[str, float] | None = None) -> None:
        self._rates = dict(rates or {})

    def copy(self) -> ExpectedFailures:
        """Return a copy that does not change with this one."""
        return ExpectedFailures(self._rates)

    def level(self, rollout: str) -> int:
        """Return the level of the rate before the next request: 0 to `LEVELS`, for 0 to 100 %."""
        return round(LEVELS * self._rates.get(rollout, 0.0))

    def add(self, rollout: str, failed: bool) -> None:
        """Count a request."""
        rate = self._rates.get(rollout, 0.0)
        self._rates[rollout] = rate + (failed - rate) / MEMORY
