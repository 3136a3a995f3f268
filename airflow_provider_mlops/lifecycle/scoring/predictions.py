"""The predictions for each test row, as a Parquet file next to the evaluation file.

The file has one row for each test row, in the order of the dataset, and these columns: `target`; `model`, `champion`
and `baseline` with their predictions; `model_probability_0`, ... with the probability of each class, numbered as in the
evaluation's `classes`; and `slice_<column>` with the group in each slice and sensitive column. Classes are text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from airflow_provider_mlops.data import parquet_read, storage
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.scoring.metrics import ModelOutput, Problem

if TYPE_CHECKING:
    import numpy as np
    import pyarrow
    from numpy.typing import NDArray

_SLICE = "slice_"
_PROBABILITY = "_probability_"


@dataclass(frozen=True)
class RowPredictions:
    """The true and predicted values of the rows of an evaluation.

    Parameters
    ----------
    truth
        Shape (rows,): class codes, or numbers for regression.
    models
        Predictions of `model`, `baseline` and, if there is one, `champion`.
    groups
        Group of each row as text, by column.
    """

    problem: Problem
    classes: tuple[str, ...]
    truth: NDArray[np.int64] | NDArray[np.float64]
    models: dict[str, ModelOutput]
    groups: dict[str, NDArray[np.object_]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.truth)

    def write(self, uri: str) -> None:
        """Write the Parquet file to `uri`."""
        import pyarrow
        import pyarrow.parquet

        columns: dict[str, Any] = {"target": self._column(self.truth)}
        for name, model in self.models.items():
            columns[name] = self._column(model.value)
            if model.probability is not None:
                for code in range(len(self.classes)):
                    columns[f"{name}{_PROBABILITY}{code}"] = pyarrow.array(model.probability[:, code])
        for column, labels in self.groups.items():
            columns[_SLICE + column] = pyarrow.array(labels.tolist(), pyarrow.string()).dictionary_encode()
        sink = pyarrow.BufferOutputStream()
        pyarrow.parquet.write_table(pyarrow.table(columns), sink, compression="zstd")
        storage.write_bytes(uri, sink.getvalue().to_pybytes())

    @classmethod
    def read(cls, uri: str, problem: Problem, classes: tuple[str, ...]) -> Self:
        """Read a file that `write` wrote. Raises InvalidSpecError if there is none."""
        import pyarrow

        try:
            table = parquet_read.read(uri)
        except (FileNotFoundError, pyarrow.ArrowInvalid) as error:
            raise InvalidSpecError(
                "evaluation_uri",
                uri,
                f"the predictions file of the evaluation cannot be read ({type(error).__name__}). Run the evaluate "
                "step again",
            ) from error
        names = [name for name in ("model", "champion", "baseline") if name in table.column_names]
        models = {
            name: ModelOutput(_values(table[name], classes), _probability(table, name, classes)) for name in names
        }
        groups = {
            name.removeprefix(_SLICE): table[name].to_pandas().to_numpy(dtype=object)
            for name in table.column_names
            if name.startswith(_SLICE)
        }
        return cls(problem, classes, _values(table["target"], classes), models, groups)

    def _column(self, values: NDArray[Any]) -> pyarrow.Array:
        import numpy as np
        import pyarrow

        if self.problem == "regression":
            return pyarrow.array(values.astype(np.float64))
        names = pyarrow.array(self.classes, pyarrow.string())
        return pyarrow.DictionaryArray.from_arrays(pyarrow.array(values.astype(np.int32)), names)


def _values(column: pyarrow.ChunkedArray, classes: tuple[str, ...]) -> NDArray[np.int64] | NDArray[np.float64]:
    import numpy as np
    import pyarrow
    import pyarrow.compute

    if not classes:
        return np.asarray(column.to_numpy(), dtype=np.float64)
    codes = pyarrow.compute.index_in(column.cast(pyarrow.string()), pyarrow.array(classes, pyarrow.string()))
    return np.asarray(codes.to_numpy(), dtype=np.int64)


def _probability(table: pyarrow.Table, name: str, classes: tuple[str, ...]) -> NDArray[np.float64] | None:
    import numpy as np

    if f"{name}{_PROBABILITY}0" not in table.column_names:
        return None
    return np.column_stack([table[f"{name}{_PROBABILITY}{code}"].to_numpy() for code in range(len(classes))])
