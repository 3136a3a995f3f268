"""Encoders of categories, as tables: for each value that a column can have, what the encoder returns.

The tables are filled by calling the fitted transformers once with every category, a missing value, and a value that no
one has seen. So a one-hot or ordinal encoder, with whatever options, and the imputers before it need no arithmetic.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from airflow_provider_mlops.serving.models.compiled.elementwise import Floats, is_passthrough
from airflow_provider_mlops.serving.models.compiled.not_compilable import NotCompilableError, unknown

if TYPE_CHECKING:
    import pandas as pd

_MAX_CELLS = 2_000_000
"""Maximum size of the tables of one encoder."""

UNSEEN_TEXT = "\u2063 not a category"
"""A text that is not a category of any model; it begins with an invisible character."""


@dataclass(frozen=True)
class Table:
    """The numbers that an encoder returns for the values of one column.

    Parameters
    ----------
    places
        Row of `encoded` for each value; None for a missing value that scikit-learn must see, because it refuses it.
    unseen
        Row of `encoded` for any other value; None if scikit-learn must see it, because it refuses such values.
    encoded
        Encoded values of shape (values, outputs of this column).
    outputs
        Positions of the column's outputs.
    """

    places: dict[Any, int | None]
    unseen: int | None
    encoded: Floats
    outputs: slice | list[int]

    def fill(self, out: Floats, values: Sequence[Any]) -> bool:
        """Write the encoded values of the column. Returns False if scikit-learn must see one of them."""
        places = self.places
        if len(values) == 1:
            place = places.get(values[0], self.unseen)
            if place is None:
                return False
            out[0, self.outputs] = self.encoded[place]
            return True
        rows: list[Any] = [places.get(value, self.unseen) for value in values]
        if None in rows:
            return False
        out[:, self.outputs] = self.encoded[rows]
        return True


def tables(names: Sequence[str], is_text: Sequence[bool], steps: Sequence[Any]) -> tuple[Floats, list[Table]]:
    """Return the outputs for a row of known values, and a table for each column. Raises NotCompilableError.

    Parameters
    ----------
    names
        Columns that the transformers get.
    is_text
        Whether each column contains text; the others contain numbers.
    steps
        Fitted transformers that treat each column separately, among them an encoder.
    """
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import (
        MaxAbsScaler,
        MinMaxScaler,
        OneHotEncoder,
        OrdinalEncoder,
        RobustScaler,
        StandardScaler,
    )

    allowed = (SimpleImputer, OneHotEncoder, OrdinalEncoder, StandardScaler, MinMaxScaler, RobustScaler, MaxAbsScaler)
    for step in steps:
        if type(step) not in allowed and not is_passthrough(step):
            raise unknown(step)
        if type(step) is SimpleImputer and step.add_indicator:
            raise NotCompilableError("SimpleImputer has no compiled form with an indicator")
    encoder = next((step for step in steps if type(step) in (OneHotEncoder, OrdinalEncoder)), None)
    if encoder is None:
        raise NotCompilableError("columns of text are not encoded")
    if len(encoder.categories_) != len(names):
        raise NotCompilableError(f"an encoder of {len(names)} columns knows {len(encoder.categories_)}")
    probe = _Probe(names, is_text, steps, encoder.categories_)
    return probe.base, [probe.table(column) for column in range(len(names))]


class _Probe:
    """Calls the transformers with one column changed at a time, from a row of first categories."""

    def __init__(
        self, names: Sequence[str], is_text: Sequence[bool], steps: Sequence[Any], known: Sequence[Any]
    ) -> None:
        self._names, self._is_text, self._steps = names, is_text, steps
        self._known = [_known(values, text) for values, text in zip(known, is_text, strict=True)]
        self._usual = [values[0] for values in self._known]
        usual = self._encode(0, [self._usual[0]])
        if usual is None:
            raise NotCompilableError("an encoder refuses its own categories")
        self.base = usual[0]
        if self.base.size * sum(map(len, self._known)) > _MAX_CELLS:
            raise NotCompilableError("an encoder has too many categories")
        self._taken: set[int] = set()

    def table(self, column: int) -> Table:
        known = self._known[column]
        encoded = self._encode(column, known)
        if encoded is None:
            raise NotCompilableError("an encoder refuses its own categories")
        places: dict[Any, int | None] = {value: place for place, value in enumerate(known)}
        rows = [encoded]
        missing = self._encode(column, [None])
        if missing is not None:
            places[None] = len(known)
            rows.append(missing)
        else:
            places[None] = None
        unseen = self._encode(column, [UNSEEN_TEXT if self._is_text[column] else _unseen_number(known)])
        unseen_place = None
        if unseen is not None:
            unseen_place = sum(map(len, rows))
            rows.append(unseen)
        table = np.concatenate(rows)
        outputs = np.flatnonzero((table != self.base).any(axis=0)).tolist()
        if not self._taken.isdisjoint(outputs):
            raise NotCompilableError("an output of an encoder depends on several columns")
        self._taken.update(outputs)
        contiguous = bool(outputs) and outputs == list(range(outputs[0], outputs[-1] + 1))
        where = slice(outputs[0], outputs[-1] + 1) if contiguous else outputs
        return Table(places, unseen_place, np.ascontiguousarray(table[:, where]), where)

    def _encode(self, column: int, values: Sequence[Any]) -> Floats | None:
        """Return what the transformers return for the values of one column; None if they refuse them."""
        features: Any = self._frame(column, values)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                for step in self._steps:
                    if not is_passthrough(step):
                        features = step.transform(features)
            except (TypeError, ValueError):
                return None
        if hasattr(features, "toarray"):
            features = features.toarray()
        encoded = np.asarray(features)
        if encoded.ndim != 2 or encoded.dtype.kind not in "fiub":
            raise NotCompilableError("an encoder does not return numbers")
        encoded = encoded.astype(np.float64)
        if not np.isfinite(encoded).all():
            raise NotCompilableError("an encoder returns a number that is not finite")
        return encoded

    def _frame(self, changed: int, values: Sequence[Any]) -> pd.DataFrame:
        import pandas as pd

        arrays: dict[str, Any] = {}
        for column, (name, is_text) in enumerate(zip(self._names, self._is_text, strict=True)):
            cells = list(values) if column == changed else [self._usual[column]] * len(values)
            cells = [np.nan if cell is None else cell for cell in cells]
            if is_text:
                array = np.empty(len(cells), dtype=object)
                array[:] = cells
                arrays[name] = array
            else:
                arrays[name] = np.array(cells, dtype=np.float64)
        return pd.DataFrame(arrays, columns=list(self._names))


def _known(categories: Any, is_text: bool) -> list[Any]:
    """Return the categories that a request can contain, except for a missing one."""
    values: list[Any] = categories.tolist()
    known: list[Any]
    if is_text:
        known = [value for value in values if type(value) is str]
        if len(known) < sum(value is not None and value == value for value in values):
            raise NotCompilableError("an encoder of text has categories that are not text")
    else:
        if not all(type(value) in (int, float) or value is None for value in values):
            raise NotCompilableError("an encoder of numbers has categories that are not numbers")
        known = [float(value) for value in values if value is not None and value == value]
        if any(abs(value) >= 2**53 for value in known):
            raise NotCompilableError("an encoder has categories of more than 53 bits")
    if not known:
        raise NotCompilableError("an encoder has a column without categories")
    return known


def _unseen_number(known: Sequence[float]) -> float:
    return max(known) + 1.5
