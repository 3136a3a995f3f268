"""How features become numbers: declared by column type, or the user's own code.

What is built here is unfitted and made of scikit-learn's own classes only. Training fits it inside
the model's Pipeline, so serving cannot differ, and skops loads it again with `TRUSTED_TYPES`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.user_code import UserCode

if TYPE_CHECKING:
    import pandas

Kind = Literal["numeric", "boolean", "categorical", "code"]
"""How a column is treated. A `code` is a number that names a category."""

TRUSTED_TYPES = ("numpy.dtype",)
"""What skops must be told to trust to load what is built here: SimpleImputer keeps the dtype that it was fitted on."""


class Preprocessing(BaseModel):
    """How columns are imputed, encoded and scaled, by their type.

    - Numbers are imputed, then scaled. An integer column with nulls is read as floating point and treated alike.
    - Booleans become 0 and 1; a missing one takes the more frequent value.
    - Strings (and the numbers named in `as_categorical`) are encoded. A category that training has not seen counts as
      "infrequent" where there are infrequent ones, and as none of the known ones otherwise; it is never an error.
    - Dates, times, decimals, bytes and nested values are refused, with what to do about them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    numeric_impute: Literal["median", "mean", "most_frequent", "constant"] | None = Field(
        default="median",
        description="What replaces a missing number: a statistic of the training rows, or `numeric_fill`. "
        "`null` leaves it missing, for estimators that can work with that.",
    )
    numeric_fill: float = Field(
        default=0.0, description="The number that replaces a missing one when `numeric_impute` is `constant`."
    )
    numeric_scale: Literal["standard", "minmax", "robust"] | None = Field(
        default="standard",
        description="How numbers are scaled: to mean 0 and deviation 1, to the range 0–1, or by median and "
        "interquartile range, which outliers do not move. `null` leaves them.",
    )
    categorical_impute: Literal["most_frequent", "constant"] = Field(
        default="constant",
        description="What replaces a missing category: the most frequent one, or `categorical_fill`, which makes "
        "being missing a category of its own.",
    )
    categorical_fill: str = Field(
        default="missing", description="The category of missing values when `categorical_impute` is `constant`."
    )
    categorical_encode: Literal["one_hot", "ordinal"] = Field(
        default="one_hot",
        description="How categories become numbers: one 0/1 column each, or one column with the category's position "
        "in sorted order (-1 for an unknown one, -2 for a missing number of `as_categorical`), which suits trees.",
    )
    max_categories: int = Field(
        default=100,
        ge=2,
        description="How many categories of a column are told apart. The rarer ones are taken together as infrequent, "
        "so that an identifier left among the features cannot fill the memory.",
    )
    as_categorical: tuple[str, ...] = Field(
        default=(), description="Number columns whose values are names of categories: postal codes, product numbers."
    )
    code: UserCode | None = Field(
        default=None,
        description="The user's own preprocessing in place of all the above: a function that is given `features` "
        "(a pandas DataFrame without the target) by name and returns an unfitted scikit-learn transformer.",
    )

    def check(self) -> None:
        """Check what can be told without rows. Raises InvalidSpecError for user code that cannot be called."""
        if self.code is not None:
            self.code.check("preprocessing.code", "features")

    def build(self, frame: pandas.DataFrame) -> Any:
        """The unfitted scikit-learn transformer for the columns of `frame`, the features without the target.

        A frame of numbers only gives a Pipeline that also accepts arrays, which is the fastest in serving;
        any other gives a ColumnTransformer that picks columns by name.

        Raises InvalidSpecError for columns that cannot become numbers and for user code that returns no transformer.
        """
        if self.code is not None:
            return self._from_code(self.code, frame)
        kinds = column_kinds(frame, self.as_categorical)
        from sklearn.compose import ColumnTransformer

        builders = {
            "numeric": self._numeric,
            "boolean": self._boolean,
            "categorical": self._categorical,
            "code": self._code,
        }
        names = {kind: [name for name, of in kinds.items() if of == kind] for kind in builders}
        if len(names["numeric"]) == len(kinds):
            return self._numeric()
        branches = [(kind, build(), names[kind]) for kind, build in builders.items() if names[kind]]
        return ColumnTransformer(branches, remainder="drop", verbose_feature_names_out=False)

    def _numeric(self) -> Any:
        from sklearn.impute import SimpleImputer
        from sklearn.preprocessing import MinMaxScaler, RobustScaler, StandardScaler

        parts: list[Any] = []
        if self.numeric_impute is not None:
            fill = self.numeric_fill if self.numeric_impute == "constant" else None
            # A column that is empty in training must not vanish: the same columns come out whatever the rows are.
            parts.append(SimpleImputer(strategy=self.numeric_impute, fill_value=fill, keep_empty_features=True))
        if self.numeric_scale is not None:
            scalers = {"standard": StandardScaler, "minmax": MinMaxScaler, "robust": RobustScaler}
            parts.append(scalers[self.numeric_scale]())
        # All others convert by themselves.
        if not parts or self.numeric_impute in ("most_frequent", "constant"):
            parts.insert(0, _to_float())
        return _pipeline(parts)

    def _boolean(self) -> Any:
        from sklearn.impute import SimpleImputer

        return _pipeline([_to_float(), SimpleImputer(strategy="most_frequent", keep_empty_features=True)])

    def _categorical(self) -> Any:
        from sklearn.impute import SimpleImputer

        fill = self.categorical_fill if self.categorical_impute == "constant" else None
        # A missing string is NaN in some frames and None in others (JSON null): each imputer knows one of them.
        imputers = [
            SimpleImputer(
                missing_values=missing, strategy=self.categorical_impute, fill_value=fill, keep_empty_features=True
            )
            for missing in (float("nan"), None)
        ]
        return _pipeline([*imputers, self._encoder()])

    def _code(self) -> Any:
        return _pipeline([_to_float(), self._encoder()])

    def _encoder(self) -> Any:
        from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

        if self.categorical_encode == "ordinal":
            return OrdinalEncoder(
                handle_unknown="use_encoded_value",
                unknown_value=-1,
                encoded_missing_value=-2,
                max_categories=self.max_categories,
            )
        return OneHotEncoder(
            handle_unknown="infrequent_if_exist", max_categories=self.max_categories, sparse_output=False
        )

    def _from_code(self, code: UserCode, frame: pandas.DataFrame) -> Any:
        from sklearn.base import clone

        built = code.call(features=frame)
        if not (hasattr(built, "fit") and hasattr(built, "transform")) or isinstance(built, type):
            raise InvalidSpecError(
                "preprocessing.code",
                f"{code} returned {type(built).__name__}",
                "return an unfitted scikit-learn transformer: an object with fit and transform, such as a "
                "ColumnTransformer or a Pipeline",
            )
        return clone(built)


def _to_float() -> Any:
    """Booleans, integers and None from JSON as floating point and NaN, whatever the dtype of the frame in serving."""
    from sklearn.preprocessing import StandardScaler

    # A scaler that does not scale converts as every scikit-learn estimator does; a FunctionTransformer would need
    # a function of ours, which skops does not trust.
    return StandardScaler(with_mean=False, with_std=False)


def _pipeline(parts: list[Any]) -> Any:
    from sklearn.pipeline import make_pipeline

    return make_pipeline(*parts)


def column_kinds(frame: pandas.DataFrame, as_categorical: tuple[str, ...] = ()) -> dict[str, Kind]:
    """How each column of the features is treated, in the order of the columns.

    Raises InvalidSpecError if there is no column, if a name in `as_categorical` is unknown, or if the values of a
    column are of a type that cannot become numbers.
    """
    if not len(frame.columns):
        raise InvalidSpecError("dataset", [], "there is no feature column left beside the target: drop fewer columns")
    for name in as_categorical:
        if name not in frame.columns:
            raise InvalidSpecError("preprocessing.as_categorical", name, f"name one of the columns: {_some(frame)}")
    return {str(name): _kind(frame[name], str(name) in as_categorical) for name in frame.columns}


_REFUSED = {
    "date or time": "derive numbers from it (year, weekday, age in days) in the `features` code, or name it in `drop`",
    "decimal": "cast it to a floating-point number in the query or in the `features` code",
    "object": "turn it into numbers, booleans or strings in the `features` code, or name it in `drop`",
}


def _kind(column: pandas.Series[Any], as_categorical: bool) -> Kind:
    from pandas.api import types

    distinct: Any = column
    if isinstance(column.dtype, types.CategoricalDtype):
        distinct = column.cat.categories
        as_categorical = True
    values: Any = distinct.dtype
    if types.is_bool_dtype(values):
        return "boolean"
    if types.is_complex_dtype(values):
        raise _refusal(column, "complex number", "object")
    if types.is_numeric_dtype(values):
        return "code" if as_categorical else "numeric"
    if types.is_datetime64_any_dtype(values) or values.kind in "mM" or str(values).startswith("period"):
        raise _refusal(column, str(values), "date or time")
    found = types.infer_dtype(distinct, skipna=True)
    if found in ("string", "empty"):
        return "categorical"
    if found == "boolean":
        return "boolean"
    if found == "decimal":
        raise _refusal(column, found, "decimal")
    if found in ("date", "datetime", "datetime64", "time", "timedelta", "timedelta64", "period"):
        raise _refusal(column, found, "date or time")
    raise _refusal(column, f"{found} values", "object")


def _refusal(column: pandas.Series[Any], found: str, reason: str) -> InvalidSpecError:
    return InvalidSpecError("dataset", f"column {column.name} of type {found}", _REFUSED[reason])


def _some(frame: pandas.DataFrame) -> str:
    names = [str(name) for name in frame.columns]
    return ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
