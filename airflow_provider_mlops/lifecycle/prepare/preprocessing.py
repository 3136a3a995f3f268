"""Preprocessing that turns features into numbers: declared by column type, or user code.

The transformer is unfitted and consists of scikit-learn's own classes only. Training fits it inside the model's
Pipeline, so the fitted preprocessing is part of the model that is served, and skops can load it with `TRUSTED_TYPES`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from airflow_provider_mlops.data.names import must_be_a_column
from airflow_provider_mlops.errors import InvalidSpecError
from airflow_provider_mlops.lifecycle.user_code import UserCode

if TYPE_CHECKING:
    import pandas

Kind = Literal["numeric", "boolean", "categorical", "code"]
"""The treatment of a column. A `code` is a number that names a category."""

TRUSTED_TYPES = ("numpy.dtype",)
"""Types that skops must trust to load the transformer: SimpleImputer stores the dtype on which it was fitted."""


class Preprocessing(BaseModel):
    """The imputation, encoding and scaling of columns, by their type.

    - Numbers are imputed, then scaled. An integer column with nulls is read as floating point and treated the same way.
    - Booleans become 0 and 1; a missing value is replaced by the more frequent one.
    - Strings, and the numbers named in `as_categorical`, are encoded. A category that does not occur in training is
      encoded as infrequent if there are infrequent categories, and as all zeros otherwise. It is never an error.
    - Dates, times, decimals, bytes and nested values are rejected with a hint on how to convert them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    numeric_impute: Literal["median", "mean", "most_frequent", "constant"] | None = Field(
        default="median",
        description="Replacement for missing numbers. `median`, `mean`, `most_frequent`: this statistic of the "
        "training rows; `constant`: the value of `numeric_fill`; `None`: no replacement, for estimators that support "
        "missing values.",
    )
    numeric_fill: float = Field(
        default=0.0, description="Number that replaces missing values if `numeric_impute` is `constant`."
    )
    numeric_scale: Literal["standard", "minmax", "robust"] | None = Field(
        default="standard",
        description="Scaling of numbers. `standard`: to mean 0 and standard deviation 1; `minmax`: to the range 0 to "
        "1; `robust`: by median and interquartile range, which outliers hardly affect; `None`: no scaling.",
    )
    categorical_impute: Literal["most_frequent", "constant"] = Field(
        default="constant",
        description="Replacement for missing categories. `most_frequent`: the most frequent category; `constant`: the "
        "value of `categorical_fill`, so that missing values form a category of their own.",
    )
    categorical_fill: str = Field(
        default="missing", description="Category that replaces missing values if `categorical_impute` is `constant`."
    )
    categorical_encode: Literal["one_hot", "ordinal"] = Field(
        default="one_hot",
        description="Encoding of categories. `one_hot`: one 0/1 column for each category; `ordinal`: one column with "
        "the position of the category in sorted order, which suits tree models. With `ordinal`, -1 stands for an "
        "unknown category and -2 for a missing number in an `as_categorical` column.",
    )
    max_categories: int = Field(
        default=100,
        ge=2,
        description="Maximum number of categories per column. The rarest ones are grouped as infrequent, so that an "
        "identifier left among the features cannot fill the memory.",
    )
    as_categorical: tuple[str, ...] = Field(
        default=(), description="Numeric columns whose values are categories, such as postal codes and product numbers."
    )
    code: UserCode | None = Field(
        default=None,
        description="A function that builds the preprocessing, used instead of all the other fields. It takes "
        "`features` (a pandas DataFrame without the target) and returns an unfitted scikit-learn transformer.",
    )

    def check(self) -> None:
        """Check what can be checked without rows.

        Raises
        ------
        InvalidSpecError
            If the user code cannot be called.
        """
        if self.code is not None:
            self.code.check("preprocessing.code", "features")

    def build(self, frame: pandas.DataFrame) -> Any:
        """Build the unfitted scikit-learn transformer for the columns of `frame`.

        Parameters
        ----------
        frame
            The features, without the target.

        Returns
        -------
        sklearn.base.TransformerMixin
            A Pipeline if all columns are numbers: it accepts arrays too, which is fastest in serving. Otherwise a
            ColumnTransformer that selects columns by name.

        Raises
        ------
        InvalidSpecError
            If a column cannot become numbers, or if the user code does not return a transformer.
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
        names = {kind: [name for name, column_kind in kinds.items() if column_kind == kind] for kind in builders}
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
            # Without it, a column that is empty in training would be dropped, and the output would depend on the rows.
            parts.append(SimpleImputer(strategy=self.numeric_impute, fill_value=fill, keep_empty_features=True))
        if self.numeric_scale is not None:
            scalers = {"standard": StandardScaler, "minmax": MinMaxScaler, "robust": RobustScaler}
            parts.append(scalers[self.numeric_scale]())
        # The other parts convert to floating point themselves.
        if not parts or self.numeric_impute in ("most_frequent", "constant"):
            parts.insert(0, _to_float())
        return _pipeline(parts)

    def _boolean(self) -> Any:
        from sklearn.impute import SimpleImputer

        return _pipeline([_to_float(), SimpleImputer(strategy="most_frequent", keep_empty_features=True)])

    def _categorical(self) -> Any:
        from sklearn.impute import SimpleImputer

        fill = self.categorical_fill if self.categorical_impute == "constant" else None
        # A missing string is NaN in some frames and None in others (JSON null), and an imputer replaces only one of
        # them.
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
                str(code),
                "the function must return an unfitted scikit-learn transformer, such as a ColumnTransformer or a "
                f"Pipeline, not {'the class ' + built.__name__ if isinstance(built, type) else type(built).__name__}",
            )
        return clone(built)


def _to_float() -> Any:
    """Return a transformer that turns booleans, integers and None into floating point and NaN, for any dtype."""
    from sklearn.preprocessing import StandardScaler

    # A scaler that does not scale converts its input as every scikit-learn estimator does. A FunctionTransformer would
    # need a function of this package, which skops does not trust.
    return StandardScaler(with_mean=False, with_std=False)


def _pipeline(parts: list[Any]) -> Any:
    from sklearn.pipeline import make_pipeline

    return make_pipeline(*parts)


def column_kinds(frame: pandas.DataFrame, as_categorical: tuple[str, ...] = ()) -> dict[str, Kind]:
    """Return the kind of each column, in the order of the columns.

    Parameters
    ----------
    frame
        The features.
    as_categorical
        Columns of numbers that name categories.

    Raises
    ------
    InvalidSpecError
        If there is no column, if a name in `as_categorical` is unknown, or if a column cannot become numbers.
    """
    if not len(frame.columns):
        raise InvalidSpecError(
            "dataset", [], "it has no feature columns besides the target. List fewer columns in drop, or add features"
        )
    for name in as_categorical:
        if name not in frame.columns:
            raise InvalidSpecError(
                "preprocessing.as_categorical", name, must_be_a_column(name, map(str, frame.columns))
            )
    return {str(name): _kind(frame[name], str(name) in as_categorical) for name in frame.columns}


_HINTS = {
    "date or time": "Derive numbers from it in `features`, such as the year or an age in days, or name it in `drop`",
    "decimal": "Cast it to a floating-point number in the query or in `features`",
    "object": "Turn it into numbers, booleans or strings in `features`, or name it in `drop`",
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
        raise _invalid_column(column, "complex number", "object")
    if types.is_numeric_dtype(values):
        return "code" if as_categorical else "numeric"
    if types.is_datetime64_any_dtype(values) or values.kind in "mM" or str(values).startswith("period"):
        raise _invalid_column(column, str(values), "date or time")
    inferred = types.infer_dtype(distinct, skipna=True)
    if inferred in ("string", "empty"):
        return "categorical"
    if inferred == "boolean":
        return "boolean"
    if inferred == "decimal":
        raise _invalid_column(column, inferred, "decimal")
    if inferred in ("date", "datetime", "datetime64", "time", "timedelta", "timedelta64", "period"):
        raise _invalid_column(column, inferred, "date or time")
    raise _invalid_column(column, inferred, "object")


def _invalid_column(column: pandas.Series[Any], type_name: str, reason: str) -> InvalidSpecError:
    return InvalidSpecError(
        "dataset",
        column.name,
        f"the column {column.name!r} has the type {type_name}, which cannot be converted to numbers. {_HINTS[reason]}",
    )
