"""What the columns of a table say about the one to predict: associations, class balance, suspected leakage."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_mlops.data import association
from airflow_provider_mlops.data import expressions as ex
from airflow_provider_mlops.data.association import Group
from airflow_provider_mlops.data.profile import Association, ColumnProfile, Leakage

if TYPE_CHECKING:
    import ibis
    import numpy

log = logging.getLogger(__name__)

MOST_CLASSES = 100
"""A target with more categories than this is not a classification that a contingency table could describe."""

FEWEST_ROWS = 30
"""With fewer rows than this, a perfect association is no reason for suspicion."""

NEAR_PERFECT = 0.99
"""Correlations, correlation ratios and Cramér's V of categories from here on are suspicious."""

NEAR_PERFECT_BINNED = 0.95
"""Cramér's V of a number in bins: the bin that the threshold falls into keeps it below 1."""

NEAR_PERFECT_ORDER = 0.995
"""The area under the ROC curve of a single number from which on it is suspicious."""

OTHER = "\ue000other"
"""Where rare categories are counted together: of a character that is in no text, since its use is private."""

Cells = dict[tuple[int, str | None], int]
"""How many rows a number has in each (cell, class); cells are numbered in the order of their values."""


class TargetAnalysis:
    """The analysis of one target.

    A numeric target with more values than a class label has is a regression; all others are classifications.

    :param columns: the profiles of all columns; their bins need no counts yet.
    :param sample_rows: how many rows rank correlations are computed from; all if None.
    """

    def __init__(self, table: ibis.Table, columns: list[ColumnProfile], target: str, sample_rows: int | None) -> None:
        self.table = table
        self.target = next(column for column in columns if column.name == target)
        self.columns = columns
        self.sample_rows = sample_rows
        self.sampled = False
        self._found: dict[str, list[Association]] = {column.name: [] for column in columns}
        self._reasons: dict[str, str] = {}

    @property
    def problem(self) -> Literal["classification", "regression"]:
        """What kind of learning the target asks for."""
        numeric = self.target.kind == "numeric"
        whole = "int" in self.target.type
        if self.target.kind == "temporal" or (numeric and (self.target.distinct or 0) > (20 if whole else 2)):
            return "regression"
        return "classification"

    @property
    def label(self) -> ibis.Value | None:
        """The class of each row as text; None if there are no classes, or too many."""
        classes = self.target.distinct or 0
        if self.problem == "regression" or self.target.kind == "other" or not 0 < classes <= 1.2 * MOST_CLASSES:
            return None
        return ex.text(self.table[self.target.name])

    @property
    def features(self) -> list[ColumnProfile]:
        """All columns but the target."""
        return [column for column in self.columns if column.name != self.target.name]

    def run(self, columns: list[ColumnProfile], cells: dict[str, Cells]) -> tuple[list[ColumnProfile], dict[str, Any]]:
        """The columns with their associations, and the figures of the profile that concern the target.

        :param columns: the profiles of all columns with their counts and top values.
        :param cells: for a classification, the cells of every number.
        """
        self.columns = columns
        figures: dict[str, Any] = {"problem": self.problem}
        if self.problem == "regression" and self.target.values > 0:
            self._regression()
        elif self.label is not None and len(classes := self._classes()) <= MOST_CLASSES:
            total = sum(classes.values())
            figures["class_balance"] = {name: count / total for name, count in classes.items()}
            self._classification(list(classes), cells)
        elif self.target.values > 0:
            log.warning("The target has more than %s classes: associations with it are left out", MOST_CLASSES)
        for column in self.features:
            if column.identifier_like:
                self._reasons.setdefault(column.name, "every row has a value of its own, as identifiers do")
        figures["suspected_leakage"] = tuple(
            Leakage(column=column.name, reason=self._reasons[column.name])
            for column in self.features
            if column.name in self._reasons
        )
        return [c.model_copy(update={"associations": tuple(self._found[c.name])}) for c in self.columns], figures

    def _classes(self) -> dict[str, int]:
        value = ex.text(self.table[self.target.name])
        texts = self.table.select(value=value).filter(value.notnull())
        counted = texts.group_by("value").aggregate(n=texts.count())
        rows = ex.run(counted.order_by([counted.n.desc(), counted.value]).limit(MOST_CLASSES + 1))
        return {row["value"]: row["n"] for row in rows}

    def _classification(self, classes: list[str], cells: dict[str, Cells]) -> None:
        """Cramér's V of every column with the classes; of numbers the correlation ratio and the order as well."""
        moments = self._moments_by_class()
        for column in self._numbers():
            known = {key: count for key, count in cells[column.name].items() if key[1] is not None}
            self._note(column, "cramers_v", association.cramers_v(known), NEAR_PERFECT_BINNED)
            if column.mean is not None:
                ratio = association.correlation_ratio(moments.get(column.name, []))
                self._note(column, "correlation_ratio", ratio, NEAR_PERFECT)
            if len(classes) == 2:
                self._note_order(column, known, classes[0])
        tables: dict[str, dict[tuple[str, str], int]] = {}
        for row in ex.run_together(self._grouped(column, self.label) for column in self._categories()):
            tables.setdefault(row["name"], {})[(row["place"], row["label"])] = row["n"]
        for column in self._categories():
            self._note(column, "cramers_v", association.cramers_v(tables.get(column.name, {})), NEAR_PERFECT)

    def _moments_by_class(self) -> dict[str, list[Group]]:
        """The count, mean and variance of every number within each class."""
        label = self.label
        assert label is not None
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
        """Pearson's and Spearman's correlation of every number with the target; the correlation ratio of categories."""
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
            # Where nearly every row is a category of its own, the ratio is high for no reason.
            suspicious = NEAR_PERFECT if (column.distinct or 0) < column.values / 10 else 2.0
            self._note(column, "correlation_ratio", ratio, suspicious)

    def _numbers(self) -> list[ColumnProfile]:
        return [column for column in self.features if column.bins is not None]

    def _categories(self) -> list[ColumnProfile]:
        return [column for column in self.features if column.bins is None and column.top_values]

    def _grouped(self, column: ColumnProfile, label: ibis.Value | None) -> ibis.Table:
        """Rows counted by the column's top values, and by the label or else with the moments of the target."""
        import ibis

        value = self.table[column.name]
        known = [ex.as_text(top.value) for top in column.top_values]
        written = ex.text(value)
        target = ex.number(self.table[self.target.name]) if label is None else ibis.null("float64")
        keys = {
            "name": ibis.literal(column.name),
            "place": ibis.ifelse(written.isin(known), written, OTHER).fill_null(OTHER),
            "label": ibis.literal("") if label is None else label,
        }
        figures = {"n": value.count()}
        if label is None:
            figures |= {"n": target.count(), "mean": target.mean(), "variance": target.var(how="pop")}
        wanted = ~ex.missing(value) & (target if label is None else label).notnull()
        return self.table.filter(wanted).group_by(**keys).aggregate(**figures)

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
        if area is not None and max(area, 1 - area) >= NEAR_PERFECT_ORDER and column.values >= FEWEST_ROWS:
            self._reasons.setdefault(
                column.name, f"it alone separates the classes (area under the ROC curve {max(area, 1 - area):.3f})"
            )

    def _note(
        self,
        column: ColumnProfile,
        measure: Literal["pearson", "spearman", "cramers_v", "correlation_ratio"],
        value: float | None,
        suspicious: float,
    ) -> None:
        if value is None or value != value:
            return
        self._found[column.name].append(Association(measure=measure, value=value))
        if abs(value) >= suspicious and column.values >= FEWEST_ROWS:
            word = (
                measure.replace("_", " ").replace("cramers v", "Cramér's V").replace("pearson", "Pearson correlation")
            )
            word = word.replace("spearman", "Spearman correlation")
            self._reasons.setdefault(column.name, f"it nearly determines the target ({word} {value:.3f})")


def _as_numpy(column: Any) -> numpy.ndarray:
    array: numpy.ndarray = column.to_numpy().astype("float64")
    return array
