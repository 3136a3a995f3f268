"""The analysis of a target: associations with other columns, class balance, and suspected leakage."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_mlops.data import association
from airflow_provider_mlops.data import expressions as ex
from airflow_provider_mlops.data.association import Group
from airflow_provider_mlops.data.profile import Association, ColumnProfile, Leakage, Measure, Problem

if TYPE_CHECKING:
    import ibis
    import numpy
    import pyarrow

log = logging.getLogger(__name__)

MAX_CLASSES = 100
"""Largest number of classes of which a contingency table is made."""

MIN_ROWS = 30
"""Number of rows below which even a perfect association is not suspicious."""

NEAR_PERFECT = 0.99
"""Correlation, correlation ratio or Cramér's V of categories from which a column is suspicious."""

NEAR_PERFECT_BINNED = 0.95
"""Cramér's V of a binned number from which a column is suspicious.

The bin that contains the threshold between the classes keeps it below 1.
"""

NEAR_PERFECT_ORDER = 0.995
"""Area under the ROC curve of a single number from which a column is suspicious."""

OTHER = "\ue000other"
"""Category that stands for all rare ones. It begins with a private-use character, which does not occur in text."""

Cells = dict[tuple[int, str | None], int]
"""Number of rows in each (cell, class) of a numeric column. Cells are numbered in the order of their values."""

_MEASURE_NAMES: dict[Measure, str] = {
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
    "cramers_v": "Cramér's V",
    "correlation_ratio": "correlation ratio",
}


@dataclass(frozen=True, slots=True)
class TargetFigures:
    """The figures of a profile that concern its target. They are fields of `Profile`."""

    problem: Problem | None = None
    class_balance: dict[str, float] | None = None
    suspected_leakage: tuple[Leakage, ...] = ()


class TargetAnalysis:
    """The analysis of one target.

    A numeric target with more values than class labels have is a regression; all other targets are classifications.

    Parameters
    ----------
    table
        Table to analyze.
    columns
        Profiles of all columns. Their bins need no counts yet.
    target
        Name of the column to predict.
    sample_rows
        Number of rows to compute rank correlations from; None for all rows.
    """

    def __init__(self, table: ibis.Table, columns: list[ColumnProfile], target: str, sample_rows: int | None) -> None:
        self.table = table
        self.target = next(column for column in columns if column.name == target)
        self.columns = columns
        self.sample_rows = sample_rows
        self.sampled = False
        self._associations: dict[str, list[Association]] = {column.name: [] for column in columns}
        self._reasons: dict[str, str] = {}

    @property
    def problem(self) -> Problem:
        """Kind of learning that the target asks for."""
        numeric = self.target.kind == "numeric"
        max_labels = 20 if "int" in self.target.type else 2
        if self.target.kind == "temporal" or (numeric and (self.target.distinct or 0) > max_labels):
            return "regression"
        return "classification"

    @property
    def label(self) -> ibis.Value | None:
        """Class of each row as text; None if there are no classes, or too many."""
        classes = self.target.distinct or 0
        if self.problem == "regression" or self.target.kind == "other" or not 0 < classes <= 1.2 * MAX_CLASSES:
            return None
        return ex.text(self.table[self.target.name])

    @property
    def features(self) -> list[ColumnProfile]:
        """All columns except the target."""
        return [column for column in self.columns if column.name != self.target.name]

    def run(self, columns: list[ColumnProfile], cells: dict[str, Cells]) -> tuple[list[ColumnProfile], TargetFigures]:
        """Return the columns with their associations, and the figures that concern the target.

        Parameters
        ----------
        columns
            Profiles of all columns, with the counts of their bins and their top values.
        cells
            Counts of the cells of every numeric column; needed for a classification only.
        """
        self.columns = columns
        class_balance: dict[str, float] | None = None
        label = self.label
        if self.problem == "regression" and self.target.values > 0:
            self._regression()
        elif label is not None and len(classes := self._classes()) <= MAX_CLASSES:
            total = sum(classes.values())
            class_balance = {name: count / total for name, count in classes.items()}
            self._classification(label, list(classes), cells)
        elif self.target.values > 0:
            log.warning(
                "The target %r has more than %d classes, so its associations are not computed",
                self.target.name,
                MAX_CLASSES,
            )
        for column in self.features:
            if column.identifier_like:
                self._reasons.setdefault(column.name, "every row has a different value, as in a column of identifiers")
        leakage = tuple(
            Leakage(column=column.name, reason=self._reasons[column.name])
            for column in self.features
            if column.name in self._reasons
        )
        filled = [c.model_copy(update={"associations": tuple(self._associations[c.name])}) for c in self.columns]
        return filled, TargetFigures(self.problem, class_balance, leakage)

    def _classes(self) -> dict[str, int]:
        value = ex.text(self.table[self.target.name])
        texts = self.table.select(value=value).filter(value.notnull())
        counted = texts.group_by("value").aggregate(n=texts.count())
        rows = ex.run(counted.order_by([counted.n.desc(), counted.value]).limit(MAX_CLASSES + 1))
        return {row["value"]: row["n"] for row in rows}

    def _classification(self, label: ibis.Value, classes: list[str], cells: dict[str, Cells]) -> None:
        """Note Cramér's V of every column, and for numeric columns the correlation ratio and the order as well."""
        moments = self._moments_by_class(label)
        for column in self._numbers():
            known = {key: count for key, count in cells[column.name].items() if key[1] is not None}
            self._note(column, "cramers_v", association.cramers_v(known), NEAR_PERFECT_BINNED)
            if column.mean is not None:
                ratio = association.correlation_ratio(moments.get(column.name, []))
                self._note(column, "correlation_ratio", ratio, NEAR_PERFECT)
            if len(classes) == 2:
                self._note_order(column, known, classes[0])
        tables: dict[str, dict[tuple[str, str], int]] = {}
        for row in ex.run_together(self._grouped(column, label) for column in self._categories()):
            tables.setdefault(row["name"], {})[(row["category"], row["label"])] = row["n"]
        for column in self._categories():
            self._note(column, "cramers_v", association.cramers_v(tables.get(column.name, {})), NEAR_PERFECT)

    def _moments_by_class(self, label: ibis.Value) -> dict[str, list[Group]]:
        """Return the count, mean and variance of every numeric column within each class."""
        moments: dict[str, list[Group]] = {}
        for part in ex.in_parts([column for column in self._numbers() if column.mean is not None]):
            figures = {}
            for index, column in enumerate(part):
                number = ex.number(self.table[column.name])
                figures[f"n_{index}"] = number.count()
                figures[f"mean_{index}"], figures[f"variance_{index}"] = number.mean(), number.var(how="pop")
            for row in ex.run(self.table.group_by(label=label).aggregate(**figures)):
                for index, column in enumerate(part):
                    if row["label"] is not None and row[f"n_{index}"]:
                        group = Group(row[f"n_{index}"], row[f"mean_{index}"], row[f"variance_{index}"])
                        moments.setdefault(column.name, []).append(group)
        return moments

    def _regression(self) -> None:
        """Note Pearson's and Spearman's correlation of numeric columns, and the correlation ratio of categories."""
        numbers = [column for column in self._numbers() if column.mean is not None]
        target = ex.number(self.table[self.target.name])
        if self.target.mean is not None:
            for part in ex.in_parts(numbers):
                row = ex.run(
                    self.table.aggregate(
                        **{
                            f"r_{index}": ex.number(self.table[column.name]).corr(target, how="pop")
                            for index, column in enumerate(part)
                        }
                    )
                )[0]
                for index, column in enumerate(part):
                    self._note(column, "pearson", row[f"r_{index}"], NEAR_PERFECT)
        self._rank_correlations(self._numbers())
        categories = self._categories()
        groups: dict[str, list[Group]] = {}
        branches = [self._grouped(column, None) for column in categories]
        for row in ex.run_together(branches if self.target.mean is not None else []):
            groups.setdefault(row["name"], []).append(Group(row["n"], row["mean"], row["variance"]))
        for column in categories:
            ratio = association.correlation_ratio(groups.get(column.name, []))
            # If nearly every row has its own category, the ratio is high for no reason.
            threshold = NEAR_PERFECT if (column.distinct or 0) < column.values / 10 else 2.0
            self._note(column, "correlation_ratio", ratio, threshold)

    def _numbers(self) -> list[ColumnProfile]:
        return [column for column in self.features if column.bins is not None]

    def _categories(self) -> list[ColumnProfile]:
        return [column for column in self.features if column.bins is None and column.top_values]

    def _grouped(self, column: ColumnProfile, label: ibis.Value | None) -> ibis.Table:
        """Count rows by the column's top values, and by the label or else with the moments of the target."""
        import ibis

        value = self.table[column.name]
        known = [ex.as_text(top.value) for top in column.top_values]
        as_text = ex.text(value)
        target = ex.number(self.table[self.target.name]) if label is None else ibis.null("float64")
        keys = {
            "name": ibis.literal(column.name),
            "category": ibis.ifelse(as_text.isin(known), as_text, OTHER).fill_null(OTHER),
            "label": ibis.literal("") if label is None else label,
        }
        figures = {"n": value.count()}
        if label is None:
            figures |= {"n": target.count(), "mean": target.mean(), "variance": target.var(how="pop")}
        complete = ~ex.missing(value) & (target if label is None else label).notnull()
        return self.table.filter(complete).group_by(**keys).aggregate(**figures)

    def _rank_correlations(self, numbers: list[ColumnProfile]) -> None:
        import ibis

        rows = self.table
        if self.sample_rows is not None and self.target.rows > self.sample_rows:
            self.sampled = True
            rows = rows.filter(ibis.random() < self.sample_rows / self.target.rows)
        for part in ex.in_parts(numbers):
            names = {f"c{index}": ex.number(rows[column.name]) for index, column in enumerate(part)}
            arrow = rows.select(target=ex.number(rows[self.target.name]), **names).to_pyarrow()
            target = _as_numpy(arrow["target"])
            for index, column in enumerate(part):
                value = association.spearman(_as_numpy(arrow[f"c{index}"]), target)
                self._note(column, "spearman", value, NEAR_PERFECT)

    def _note_order(self, column: ColumnProfile, cells: Cells, negative: str) -> None:
        pairs: dict[int, list[int]] = {}
        for (cell, class_), count in cells.items():
            pairs.setdefault(cell, [0, 0])[class_ != negative] += count
        area = association.area_under_curve([(pairs[cell][0], pairs[cell][1]) for cell in sorted(pairs)])
        if area is not None and max(area, 1 - area) >= NEAR_PERFECT_ORDER and column.values >= MIN_ROWS:
            self._reasons.setdefault(
                column.name,
                f"the column alone separates the classes (area under the ROC curve {max(area, 1 - area):.3f})",
            )

    def _note(
        self,
        column: ColumnProfile,
        measure: Measure,
        value: float | None,
        threshold: float,
    ) -> None:
        """Record an association, and suspect leakage if it reaches the threshold."""
        if value is None or value != value:
            return
        self._associations[column.name].append(Association(measure=measure, value=value))
        if abs(value) >= threshold and column.values >= MIN_ROWS:
            self._reasons.setdefault(
                column.name, f"the column nearly determines the target ({_MEASURE_NAMES[measure]} {value:.3f})"
            )


def _as_numpy(column: pyarrow.ChunkedArray) -> numpy.ndarray:
    array: numpy.ndarray = column.to_numpy().astype("float64")
    return array
