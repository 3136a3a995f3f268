"""Synthetic customers of a telephone company, for the docs, the examples and the demo.

Each row is one customer on the day of a renewal offer. The days span 24 months, from January 2024 to December 2025.

=======================  =========  ==============================================================================
Column                   Type       Meaning
=======================  =========  ==============================================================================
``customer_id``          int64      Identifier, from 1.
``observed_at``          timestamp  Time of the renewal offer (UTC); the rows are in this order.
``signed_up_on``         date       First day of the contract.
``last_login_on``        date       Last visit of the customer portal. Null for 12% who never logged in.
``segment``              string     ``new``, ``loyal`` or ``business``.
``gender``               string     ``female``, ``male`` or ``diverse``. Sensitive: not for training.
``city``                 string     One of six cities, such as ``Zürich`` and ``São Paulo``.
``plan``                 string     ``basic``, ``plus`` or ``premium``.
``age``                  int64      Age in years, 18 to 90.
``tenure_months``        int64      Months since ``signed_up_on``.
``monthly_charge``       float64    Monthly price. Rises by 35% on the first day of month 18 (June 2025).
``usage_hours``          float64    Hours of use in the last month. Null for 8% whose meter failed.
``support_tickets``      int64      Support tickets in the last 90 days.
``satisfaction``         float64    Answer to the last survey, 1 to 5. Null for 30% who did not answer.
``offer``                string     Offer that was made, at random: ``none``, ``discount`` or ``call``, 1/3 each.
``churned``              int64      Label: 1 if the customer left within a month without any offer, else 0.
``label_at``             timestamp  Time at which the label became known, 1 to 30 days after ``observed_at``.
``reward_none``          float64    Money earned in the month after the offer, if no offer is made.
``reward_discount``      float64    The same, if a discount of 25% is offered.
``reward_call``          float64    The same, if an agent calls the customer.
=======================  =========  ==============================================================================

The second table, the truth, has one row for each customer: ``customer_id``; ``churn_none``, ``churn_discount``
and ``churn_call``, the true probability of leaving under each offer; ``expected_none``, ``expected_discount`` and
``expected_call``, the expected rewards; and ``best_offer``, the offer with the highest expected reward.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_mlops.errors import InvalidSpecError

if TYPE_CHECKING:
    import pyarrow as pa

FEATURES = (
    "segment",
    "city",
    "plan",
    "age",
    "tenure_months",
    "monthly_charge",
    "usage_hours",
    "support_tickets",
    "satisfaction",
)
"""Columns a model may learn from: known at the time of the offer, neither identifying nor sensitive."""


@dataclass(frozen=True)
class CustomersSample:
    """A reproducible sample of customers and the true probabilities behind it.

    The metadata of each field describes it under `help`.

    Examples
    --------
    >>> sample = CustomersSample(rows=1_000, seed=7)
    >>> sample.customers().num_rows
    1000
    >>> sample.truth().column_names[:2]
    ['customer_id', 'churn_none']
    """

    rows: int = field(default=50_000, metadata={"help": "Number of customers, at least 1000.", "metavar": "N"})
    seed: int = field(default=7, metadata={"help": "Random seed; the same seed gives the same files.", "metavar": "N"})

    def __post_init__(self) -> None:
        if self.rows < 1000:
            raise InvalidSpecError("rows", self.rows, "it must be at least 1000")
        if self.seed < 0:
            raise InvalidSpecError("seed", self.seed, "it must be at least 0")

    def customers(self) -> pa.Table:
        """Return the customers, one row each, ordered by time."""
        return self._tables()[0]

    def truth(self) -> pa.Table:
        """Return the true probabilities and expected rewards, one row per customer."""
        return self._tables()[1]

    def write(self, directory: str | Path) -> tuple[Path, Path]:
        """Write `customers.parquet` and `customers_truth.parquet` and return their paths."""
        import pyarrow.parquet as pq

        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        paths = folder / "customers.parquet", folder / "customers_truth.parquet"
        for path, table in zip(paths, self._tables(), strict=True):
            pq.write_table(table, path, compression="zstd")
        return paths

    def _tables(self) -> tuple[pa.Table, pa.Table]:
        from airflow_provider_mlops.data.samples import customer_columns

        return customer_columns.draw(self.rows, self.seed)


def customers_for_training(rows: int = 10_000, seed: int = 7) -> pa.Table:
    """Return the features and the label `churned` of a sample, without identifiers, times and outcomes.

    A source for `ExtractDataOperator`: it needs no file and no connection.

    Parameters
    ----------
    rows
        Number of customers, at least 1,000.
    seed
        Random seed.
    """
    return CustomersSample(rows, seed).customers().select([*FEATURES, "churned"])
