"""Which row goes into training, validation and test: decided by content, so the same rows always go the same way.

Nothing here depends on the order of rows, on the number of threads or on a random generator. A row's
place follows from an MD5 hash of its values and the seed, which every engine computes alike. Equal
rows have equal hashes and stay together, so that a duplicate cannot leak from training into the test.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from airflow_provider_mlops.errors import InvalidSpecError

if TYPE_CHECKING:
    import ibis
    import pyarrow

log = logging.getLogger(__name__)

PARTS = ("train", "validation", "test")
PART = "mlops_part"
"""The column that holds 0, 1 or 2: the position in PARTS."""
ORDER = "mlops_order"
"""The column by which a part's rows are sorted: a hash of the row, which shuffles them, but always in the same way."""
POSITION = "mlops_position"
STRATUM = "mlops_stratum"
FIRST_CUT, SECOND_CUT = "mlops_first_cut", "mlops_second_cut"

TAKEN = frozenset({PART, ORDER, POSITION, STRATUM, FIRST_CUT, SECOND_CUT})
"""The names of columns that a split adds while it works, which the rows cannot have."""

MAXIMUM_STRATA = 1000


class Split(BaseModel):
    """How rows are split into training, validation and test."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Literal["random", "stratified", "group", "time"] = Field(
        default="random",
        description="- `random`: by a hash of the row. A row stays in its part as the data grows; the shares are "
        "met on average.\n"
        "- `stratified`: like random, but every value of `column` (the target, if no column is given) has the same "
        "share in each part, and the shares are exact up to duplicate rows. Of a value with fewer rows than parts, "
        "some part has none.\n"
        "- `group`: all rows with the same value of `column` are in the same part; the shares are met as closely as "
        "whole groups allow.\n"
        "- `time`: the oldest rows by `column` train, the newest test; rows of the same time stay together.",
    )
    column: str | None = Field(
        default=None, description="The column that the method `stratified`, `group` or `time` goes by."
    )
    validation: float = Field(default=0.2, ge=0, lt=1, description="The share of rows for validation; 0 for none.")
    test: float = Field(default=0.2, ge=0, lt=1, description="The share of rows for the test; 0 for none.")
    key: tuple[str, ...] = Field(
        default=(),
        description="The columns that tell rows apart, such as a customer number. By default all columns of the "
        "dataset count; columns that the `features` code adds do not, so that a new feature moves no row.",
    )

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.validation + self.test >= 1:
            raise InvalidSpecError(
                "split.validation + split.test", self.validation + self.test, "leave a share for training: less than 1"
            )
        if self.method in ("group", "time") and self.column is None:
            raise InvalidSpecError("split.column", None, f"the method {self.method} needs the column to split by")
        if self.method == "random" and self.column is not None:
            raise InvalidSpecError(
                "split.column", self.column, "the method random takes no column; use stratified, group or time"
            )
        return self

    @property
    def shares(self) -> tuple[float, float, float]:
        """The shares of training, validation and test; they add up to 1."""
        return (1 - self.validation - self.test, self.validation, self.test)


def assign(table: ibis.Table, split: Split, target: str, seed: int | str, key: list[str]) -> ibis.Table:
    """`table` with the columns PART and ORDER, the latter a hash of the columns `key`.

    Raises InvalidSpecError if the split's column is not there, holds nulls or too many strata, or cannot be sorted.
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
        raise InvalidSpecError(
            "split.column", column, f"name one of the columns: {', '.join(map(repr, table.columns[:50]))}"
        )
    found = table[column]
    if split.method == "time" and not (found.type().is_temporal() or found.type().is_numeric()):
        raise InvalidSpecError(
            "split.column",
            column,
            f"a column of type {found.type()} has no order in time: cast it to a timestamp in the query or in the "
            "`features` code",
        )
    facts = table.aggregate(nulls=found.isnull().sum(), values=found.nunique()).to_pyarrow().to_pylist()[0]
    if split.method in ("time", "group") and facts["nulls"]:
        raise InvalidSpecError(
            "split.column",
            column,
            f"{facts['nulls']} rows have no value there: drop them with filters=['{column} IS NOT NULL']",
        )
    if split.method == "stratified" and facts["values"] > MAXIMUM_STRATA:
        raise InvalidSpecError(
            "split.column",
            column,
            f"it has {facts['values']} values, too many strata: add a column with at most {MAXIMUM_STRATA} bins in "
            "the `features` code and name that, or use the method random",
        )


def _digest(table: ibis.Table, columns: list[str], seed: int | str) -> ibis.Value:
    """16 hexadecimal digits that depend on the seed and on the row's values in `columns`."""
    import ibis

    texts = [table[name].cast("string").fill_null("\ue000") for name in columns]
    return ibis.literal("\x1f").join([ibis.literal(str(seed)), *texts]).hexdigest("md5")[:16]


def _hexadecimal(share: float) -> str:
    """The 16 digits below which a uniformly distributed hash lies with probability `share`.

    >>> _hexadecimal(0.5), _hexadecimal(0.0), _hexadecimal(1.0)
    ('8000000000000000', '0000000000000000', 'g')
    """
    return "g" if share >= 1 else f"{math.floor(share * 2**64):016x}"


class _Sizes(NamedTuple):
    first: list[int]
    second: list[int]


def _cuts(table: ibis.Table, split: Split, seed: int | str) -> pyarrow.Table:
    """Per stratum the last position of training and the last one of validation; null where a part is empty."""
    import ibis
    import pyarrow

    strata = table.group_by(STRATUM).aggregate(rows=table.count())
    # What is left over by rounding must not go to the strata whose names come first: of many small ones, or of the
    # numbers of a quantity, these would be no sample of all.
    sizes = strata.order_by([_digest(strata, [STRATUM], seed), STRATUM]).to_pyarrow()
    if split.method == "stratified":
        _warn_of_small(split, sizes["rows"].to_pylist())
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
    found = running.group_by(STRATUM).aggregate(**ends)
    nearest: dict[str, ibis.Value] = {}
    for name, cut in (("first", FIRST_CUT), ("second", SECOND_CUT)):
        under = found[f"{name}_wanted"] - found[f"{name}_below_rows"].fill_null(0)
        over = found[f"{name}_above_rows"] - found[f"{name}_wanted"]
        nearest[cut] = (over < under).ifelse(found[f"{name}_above"], found[f"{name}_below"])
    return found.select(STRATUM, **nearest).to_pyarrow()


def _warn_of_small(split: Split, strata: list[int]) -> None:
    parts = sum(share > 0 for share in split.shares)
    small = sum(rows < parts for rows in strata)
    if small:
        log.warning(
            "%d of the %d values of %s have fewer than %d rows, so that not every part has one of them",
            small,
            len(strata),
            split.column or "the target",
            parts,
        )


def cumulative_sizes(strata: list[int], shares: tuple[float, float, float]) -> _Sizes:
    """How many rows of each stratum lie in training, and how many in training and validation together.

    Each part's total is its rounded share of all rows; within that, what rounding leaves over goes to the strata
    with the largest remainders, and among equal ones to the first.

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
