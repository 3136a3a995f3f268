"""Counts of one feature in both samples, in the cells of the reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from airflow_provider_mlops.stats.arrays import Floats
from airflow_provider_mlops.stats.drift.counts import validate_count_pair


@dataclass(frozen=True, eq=False)
class FeatureCounts:
    """Counts of one feature in both samples. Create it with `numeric` or `categorical`.

    Parameters
    ----------
    name
        Name of the feature.
    ordered
        Whether the cells are bins of a number.
    reference, current
        Counts of the rows that have a value, shape `(cells,)`, including unseen values.
    missing
        Rows without a value: reference, current.
    unseen
        Rows outside the range of the reference, or with a value that is not in its list: reference, current.
    """

    name: str
    ordered: bool
    reference: Floats
    current: Floats
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
        """Create the counts of a number from ordered bins. Each pair is (reference, current).

        Parameters
        ----------
        name
            Name of the feature.
        reference, current
            Rows in each bin, shape `(bins,)`.
        below, above
            Rows below the first edge and above the last one.
        missing
            Rows without a value (null or NaN).

        Examples
        --------
        >>> counts = FeatureCounts.numeric("age", [50, 50], [5, 3], above=(0, 2), missing=(1, 0))
        >>> counts.reference_rows, counts.current_rows
        (101, 10)
        """
        first, second = validate_count_pair(reference, current)
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
        """Create the counts of a category from counts by value. Each pair is (reference, current).

        Parameters
        ----------
        name
            Name of the feature.
        reference, current
            Rows by value. Current values that are not in `reference` are added to `other`.
        other
            Rows with any other value: less frequent than the listed values of the reference, or new.
        missing
            Rows without a value.

        Examples
        --------
        >>> counts = FeatureCounts.categorical("color", {"red": 60, "blue": 40}, {"red": 5, "green": 2}, other=(0, 1))
        >>> counts.current
        array([5., 0., 3.])
        """
        new = sum(count for value, count in current.items() if value not in reference)
        others = (int(other[0]), int(other[1] + new))
        first, second = validate_count_pair(
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
        """Cells that have rows in at least one sample."""
        return int(np.count_nonzero(self.reference + self.current))
