"""Rows of one feature on either side, counted in the reference's own cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from airflow_provider_mlops.stats.drift.counts import Counts, count_pair


@dataclass(frozen=True, eq=False)
class FeatureCounts:
    """Rows of one feature on either side. Make it with `numeric` or `categorical`.

    Parameters
    ----------
    name
        The feature.
    ordered
        Whether the cells are bins of a number.
    reference, current
        Counts of the rows that have a value, of shape `(cells,)`. They include the unseen ones.
    missing
        Rows without a value: reference, current.
    unseen
        Rows outside the reference's range, or with a value that is not among its own: reference, current.
    """

    name: str
    ordered: bool
    reference: Counts
    current: Counts
    missing: tuple[int, int] = (0, 0)
    unseen: tuple[int, int] = (0, 0)

    @classmethod
    def numeric(
        cls,
        name: str,
        reference: ArrayLike,
        current: ArrayLike,
        *,
        below: tuple[int, int] = (0, 0),
        above: tuple[int, int] = (0, 0),
        missing: tuple[int, int] = (0, 0),
    ) -> FeatureCounts:
        """Counts in bins, in order; every pair is (reference, current).

        Parameters
        ----------
        name
            The feature.
        reference, current
            Rows in each bin, of shape `(bins,)`.
        below, above
            Rows under the first and over the last edge.
        missing
            Rows without a value (null or NaN).

        >>> counts = FeatureCounts.numeric("age", [50, 50], [5, 3], above=(0, 2), missing=(1, 0))
        >>> counts.reference_rows, counts.current_rows
        (101, 10)
        """
        first, second = count_pair(reference, current)
        return cls(
            name,
            True,
            np.concatenate([[below[0]], first, [above[0]]]),
            np.concatenate([[below[1]], second, [above[1]]]),
            (int(missing[0]), int(missing[1])),
            (int(below[0] + above[0]), int(below[1] + above[1])),
        )

    @classmethod
    def categorical(
        cls,
        name: str,
        reference: Mapping[str, int],
        current: Mapping[str, int],
        *,
        other: tuple[int, int] = (0, 0),
        missing: tuple[int, int] = (0, 0),
    ) -> FeatureCounts:
        """Counts by value; every pair is (reference, current).

        Parameters
        ----------
        name
            The feature.
        reference, current
            Rows by value. What `current` counts under a value that `reference` does not list is added to `other`.
        other
            Rows with any other value: those below the reference's top values, or new ones.
        missing
            Rows without a value.

        >>> counts = FeatureCounts.categorical("colour", {"red": 60, "blue": 40}, {"red": 5, "green": 2}, other=(0, 1))
        >>> counts.current
        array([5., 0., 3.])
        """
        new = sum(count for value, count in current.items() if value not in reference)
        others = (int(other[0]), int(other[1] + new))
        first, second = count_pair(
            [*reference.values(), others[0]], [*(current.get(value, 0) for value in reference), others[1]]
        )
        return cls(name, False, first, second, (int(missing[0]), int(missing[1])), others)

    @property
    def reference_rows(self) -> int:
        """Rows of the reference, with and without a value."""
        return int(self.reference.sum()) + self.missing[0]

    @property
    def current_rows(self) -> int:
        """Current rows, with and without a value."""
        return int(self.current.sum()) + self.missing[1]

    @property
    def filled_cells(self) -> int:
        """Cells with a row on either side."""
        return int(np.count_nonzero(self.reference + self.current))
