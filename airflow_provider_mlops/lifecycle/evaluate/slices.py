"""Metrics by slice: the rows with one value of a column, or in one bin of a numeric column."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from airflow_provider_mlops.data.names import suggest
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.scoring.metrics import ModelOutput, Problem
from airflow_provider_mlops.lifecycle.scoring.rows import label_text
from airflow_provider_mlops.lifecycle.scoring.scorers import score

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

MISSING = "missing"
OTHER = "other values"
BINS = 4
MAX_GROUPS = 20


def group_labels(values: pd.Series[Any]) -> NDArray[np.object_]:
    """Return the group of each row as text, of shape (rows,).

    Numbers and times with more than ten distinct values are cut at their quartiles. Of other values, the twenty most
    frequent each define a group, and the rest are one group. Rows without a value are a group, too.

    >>> import pandas as pd
    >>> group_labels(pd.Series(["b", None, "a"])).tolist()
    ['b', 'missing', 'a']
    >>> sorted(set(group_labels(pd.Series(range(100)))))
    ['0 to 24.75', '24.75 to 49.5', '49.5 to 74.25', '74.25 to 99']
    """
    import numpy as np
    import pandas as pd

    labels = np.full(len(values), MISSING, dtype=object)
    present = values.notna().to_numpy()
    known = values[present]
    numeric = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    if (numeric or pd.api.types.is_datetime64_any_dtype(values)) and known.nunique() > 10:
        labels[present] = _bins(known)
        return labels
    text = known.map(label_text).to_numpy(dtype=object)
    frequent = pd.Series(text).value_counts().index[:MAX_GROUPS]
    if len(set(text)) > MAX_GROUPS:
        text = np.where(np.isin(text.astype(str), list(frequent.astype(str))), text, OTHER)
    labels[present] = text
    return labels


def by_group(
    problem: Problem,
    truth: NDArray[np.int64] | NDArray[np.float64],
    predictions: ModelOutput,
    classes: int,
    labels: NDArray[np.object_],
) -> dict[str, dict[str, float]]:
    """Return the metrics that the rows of each group define, grouped by fairlearn's MetricFrame."""
    import numpy as np
    from fairlearn.metrics import MetricFrame

    rows = np.arange(len(truth))
    frame = MetricFrame(
        # The metrics need more than the two values of a row that MetricFrame passes, so it passes row numbers.
        metrics=lambda _, chosen: score(problem, truth[chosen], predictions.take(chosen), classes),
        y_true=rows,
        y_pred=rows,
        sensitive_features=np.asarray(labels, dtype=str),
    )
    return {str(label): metrics for label, metrics in frame.by_group.items()}


def require_columns(field: str, wanted: tuple[str, ...], columns: list[str], uri: str) -> None:
    """Raise InvalidSpecError if the dataset lacks one of the columns that a field names."""
    for name in wanted:
        if name not in columns:
            raise InvalidSpecError(field, name, f"it must be a column of the dataset {uri}. {suggest(name, columns)}")


def _bins(known: pd.Series[Any]) -> NDArray[np.object_]:
    import numpy as np
    import pandas as pd

    times = pd.api.types.is_datetime64_any_dtype(known)
    numbers = known.astype("int64").to_numpy() if times else known.to_numpy(dtype=np.float64)
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, BINS + 1)))
    if times:
        texts = [str(pd.Timestamp(int(edge), unit=known.dt.unit).date()) for edge in edges]
    else:
        texts = _distinct(edges.tolist())
    positions = np.clip(np.searchsorted(edges, numbers, side="right") - 1, 0, max(len(edges) - 2, 0))
    names = np.array([f"{low} to {high}" for low, high in itertools.pairwise(texts)] or texts, dtype=object)
    chosen: NDArray[np.object_] = names[positions]
    return chosen


def _distinct(edges: list[float]) -> list[str]:
    """Return the numbers as text, rounded as far as they stay distinct."""
    for digits in (4, 6, 9):
        texts = [f"{edge:.{digits}g}" for edge in edges]
        if len(set(texts)) == len(texts):
            return texts
    return [repr(edge) for edge in edges]
