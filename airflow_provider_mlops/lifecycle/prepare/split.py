"""The split of rows into training, validation and test rows, decided by content: the same rows give the same split.

The split does not depend on the order of rows, on the number of threads or on a random generator. The part of a row
follows from an MD5 hash of its values and the seed, which every engine computes in the same way. Equal rows have equal
hashes and stay together, so a duplicate cannot leak from training into the test.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from airflow_provider_mlops.data.names import must_be_a_column, pluralize
from airflow_provider_mlops.errors import FieldError, InvalidSpecError

if TYPE_CHECKING:
    import ibis
    import pyarrow

log = logging.getLogger(__name__)

PARTS = ("train", "validation", "test")
PART = "mlops_part"
"""Name of the column that holds the part of a row: 0, 1 or 2, the position in PARTS."""
ORDER = "mlops_order"
"""Name of the column by which the rows of a part are sorted: a hash, so the order is shuffled but always the same."""
POSITION = "mlops_position"
STRATUM = "mlops_stratum"
FIRST_CUT, SECOND_CUT = "mlops_first_cut", "mlops_second_cut"

RESERVED_COLUMNS = frozenset({PART, ORDER, POSITION, STRATUM, FIRST_CUT, SECOND_CUT})
"""Names of the columns that a split adds temporarily; a dataset must not have them."""

MAX_STRATA = 1000


class Split(BaseModel):
    """The split of rows into training, validation and test rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["random", "stratified", "group", "time"] = Field(
        default="random",
        description="Method of the split. `random`: by a hash of the row, so a row stays in its part as the data "
        "grows, and the sizes of the parts are approximate. `stratified`: each value of `column` (by default the "
        "target) is equally frequent in all parts, and the sizes are exact except for duplicate rows; a value with "
        "fewer rows than there are parts is missing from some part. `group`: all rows with the same value of `column` "
        "are in the same part, and the sizes are as close to the shares as whole groups allow. `time`: the oldest "
        "rows by `column` are for training and the newest for the test; rows of the same time stay together.",
    )
    column: str | None = Field(
        default=None, description="The column used by the methods `stratified`, `group` and `time`."
    )
    validation: float = Field(default=0.2, ge=0, lt=1, description="Share of rows for validation; 0 for none.")
    test: float = Field(default=0.2, ge=0, lt=1, description="Share of rows for the test; 0 for none.")
    key: tuple[str, ...] = Field(
        default=(),
        description="Columns that identify a row, such as a customer number. By default all columns of the dataset; "
        "columns added by `features` are not included, so a new feature does not move rows between training, "
        "validation and test.",
    )

    @model_validator(mode="after")
    def _check_method(self) -> Self:
        if self.validation + self.test >= 1:
            raise FieldError(
                "test", f"validation and test must add up to less than 1, not to {self.validation + self.test:g}"
            )
        if self.method in ("group", "time") and self.column is None:
            raise FieldError("column", f"the method {self.method!r} requires a column")
        if self.method == "random" and self.column is not None:
            raise FieldError(
                "column", "the method 'random' does not use a column. Remove it, or use 'stratified', 'group' or 'time'"
            )
        return self

    @property
    def shares(self) -> tuple[float, float, float]:
        """The shares of training, validation and test rows, which add up to 1."""
        return (1 - self.validation - self.test, self.validation, self.test)


def assign(table: ibis.Table, split: Split, target: str, seed: int | str, key: list[str]) -> ibis.Table:
    """Add the columns PART and ORDER to a table.

    Parameters
    ----------
    table
        The rows.
    split
        Method, column and shares of the split.
    target
        The column to stratify by if the split has no column.
    seed
        Seed of the hash.
    key
        Columns that identify a row; ORDER is a hash of them.

    Raises
    ------
    InvalidSpecError
        If the column of the split is missing, contains nulls, has too many values or cannot be sorted.
    """
    import ibis

    column = split.column or target
    if split.method != "random":
        _check_column(table, split, column)
    table = table.mutate(_digest(table, key, seed).name(ORDER))
    train, validation, _ = split.shares
    if split.method == "random":
        first, second = (_hexadecimal(share) for share in (train, train + validation))
        place = ibis.cases((table[ORDER] < first, 0), (table[ORDER] < second, 1), else_=2)
        return table.mutate(place.cast("int8").name(PART))
    stratum = ibis.literal("")
    position = table[ORDER]
    if split.method == "stratified":
        stratum = table[column].cast("string").fill_null("\ue000")
    elif split.method == "group":
        position = _digest(table, [column], seed)
    else:
        position = table[column]
    table = table.mutate(position.name(POSITION), stratum.name(STRATUM))
    cuts = ibis.memtable(_cuts(table, split, seed))
    joined = table.inner_join(cuts, STRATUM)
    place = ibis.cases(
        ((joined[POSITION] <= joined[FIRST_CUT]).fill_null(False), 0),
        ((joined[POSITION] <= joined[SECOND_CUT]).fill_null(False), 1),
        else_=2,
    )
    return joined.mutate(place.cast("int8").name(PART)).drop(STRATUM, FIRST_CUT, SECOND_CUT)


def _check_column(table: ibis.Table, split: Split, column: str) -> None:
    if column not in table.columns:
        raise InvalidSpecError("split.column", column, must_be_a_column(column, table.columns))
    values = table[column]
    if split.method == "time" and not (values.type().is_temporal() or values.type().is_numeric()):
        raise InvalidSpecError(
            "split.column",
            column,
            f"it must be a column of times or numbers, not of type {values.type()}. Cast it to a timestamp in the "
            "query or in `features`",
        )
    facts = table.aggregate(nulls=values.isnull().sum(), distinct=values.nunique()).to_pyarrow().to_pylist()[0]
    if split.method in ("time", "group") and facts["nulls"]:
        raise InvalidSpecError(
            "split.column",
            column,
            f"it must have a value in every row, but the value is missing in {pluralize(facts['nulls'], 'row')}. Set "
            f"filters=['{column} IS NOT NULL'] to drop rows without a value",
        )
    if split.method == "stratified" and facts["distinct"] > MAX_STRATA:
        raise InvalidSpecError(
            "split.column",
            column,
            f"it must have at most {MAX_STRATA:,} values, not {facts['distinct']:,}. Group its values into "
            "bins in `features` and name the new column here, or use the method 'random'",
        )


def _digest(table: ibis.Table, columns: list[str], seed: int | str) -> ibis.Value:
    """Return 16 hexadecimal digits that depend on the seed and on the row's values in `columns`."""
    import ibis

    texts = [table[name].cast("string").fill_null("\ue000") for name in columns]
    return ibis.literal("\x1f").join([ibis.literal(str(seed)), *texts]).hexdigest("md5")[:16]


def _hexadecimal(share: float) -> str:
    """Return the 16 digits below which a uniformly distributed hash is with probability `share`.

    >>> _hexadecimal(0.5), _hexadecimal(0.0), _hexadecimal(1.0)
    ('8000000000000000', '0000000000000000', 'g')
    """
    return "g" if share >= 1 else f"{math.floor(share * 2**64):016x}"


class _Sizes(NamedTuple):
    first: list[int]
    second: list[int]


def _cuts(table: ibis.Table, split: Split, seed: int | str) -> pyarrow.Table:
    """Return the last position of training and of validation in each stratum; null if the part is empty."""
    import ibis
    import pyarrow

    strata = table.group_by(STRATUM).aggregate(rows=table.count())
    # Rows left over by rounding must not go to the strata whose names are first in order: with many small strata, or
    # with strata that are numbers, the part would not be a sample of all rows.
    sizes = strata.order_by([_digest(strata, [STRATUM], seed), STRATUM]).to_pyarrow()
    if split.method == "stratified":
        _warn_about_small_strata(split, sizes["rows"].to_pylist())
    wanted = cumulative_sizes(sizes["rows"].to_pylist(), split.shares)
    targets = ibis.memtable(pyarrow.table({STRATUM: sizes[STRATUM], "first": wanted.first, "second": wanted.second}))
    counts = table.group_by(STRATUM, POSITION).aggregate(rows=table.count())
    window = ibis.window(group_by=STRATUM, order_by=POSITION, preceding=None, following=0)
    running = counts.mutate(total=counts["rows"].sum().over(window)).inner_join(targets, STRATUM)
    ends: dict[str, ibis.Value] = {}
    for name in ("first", "second"):
        below, above = running["total"] <= running[name], running["total"] >= running[name]
        ends |= {
            f"{name}_below": running[POSITION].max(where=below),
            f"{name}_below_rows": running["total"].max(where=below),
            f"{name}_above": running[POSITION].min(where=above),
            f"{name}_above_rows": running["total"].min(where=above),
            f"{name}_wanted": running[name].max(),
        }
    candidates = running.group_by(STRATUM).aggregate(**ends)
    nearest: dict[str, ibis.Value] = {}
    for name, cut in (("first", FIRST_CUT), ("second", SECOND_CUT)):
        under = candidates[f"{name}_wanted"] - candidates[f"{name}_below_rows"].fill_null(0)
        over = candidates[f"{name}_above_rows"] - candidates[f"{name}_wanted"]
        nearest[cut] = (over < under).ifelse(candidates[f"{name}_above"], candidates[f"{name}_below"])
    return candidates.select(STRATUM, **nearest).to_pyarrow()


def _warn_about_small_strata(split: Split, strata: list[int]) -> None:
    parts = sum(share > 0 for share in split.shares)
    small = sum(rows < parts for rows in strata)
    if small:
        log.warning(
            "Each value of %s with fewer than %d rows is missing from at least one part. This affects %d of %d values",
            split.column or "the target",
            parts,
            small,
            len(strata),
        )


def cumulative_sizes(strata: list[int], shares: tuple[float, float, float]) -> _Sizes:
    """Return the number of rows of each stratum in training, and in training and validation together.

    The total of each part is its rounded share of all rows. Rows left over by rounding go to the strata with the
    largest remainders, and among equal ones to the first.

    >>> cumulative_sizes([5, 5], (0.5, 0.25, 0.25))
    _Sizes(first=[2, 3], second=[3, 4])
    """
    _, validation, test = shares
    rows = sum(strata)
    held_out = _apportion([size * (validation + test) for size in strata], _rounded(rows * (validation + test)))
    of_test = test / (validation + test) if validation + test else 0.0
    tests = _apportion([size * of_test for size in held_out], min(_rounded(rows * test), sum(held_out)))
    return _Sizes(
        [size - out for size, out in zip(strata, held_out, strict=True)],
        [size - out for size, out in zip(strata, tests, strict=True)],
    )


def _apportion(exact: list[float], total: int) -> list[int]:
    sizes = [math.floor(size + 1e-9) for size in exact]
    by_remainder = sorted(range(len(exact)), key=lambda index: (sizes[index] - exact[index], index))
    for index in by_remainder[: total - sum(sizes)]:
        sizes[index] += 1
    return sizes


def _rounded(number: float) -> int:
    return math.floor(number + 0.5 + 1e-9)
