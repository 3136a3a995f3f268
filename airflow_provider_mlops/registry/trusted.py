"""The types that skops may construct when it loads a model.

skops itself trusts scikit-learn's public estimators and NumPy's numbers. The types below are internal types of
scikit-learn that fitted models contain. The user has to name all other types when training; they are recorded with the
model.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from airflow_provider_mlops.errors import InvalidSpecError

_KERNELS = (
    "CompoundKernel",
    "ConstantKernel",
    "DotProduct",
    "ExpSineSquared",
    "Exponentiation",
    "Matern",
    "PairwiseKernel",
    "Product",
    "RBF",
    "RationalQuadratic",
    "Sum",
    "WhiteKernel",
)
_DISTANCES = (
    "BrayCurtisDistance",
    "CanberraDistance",
    "ChebyshevDistance",
    "EuclideanDistance",
    "HammingDistance",
    "HaversineDistance",
    "JaccardDistance",
    "MahalanobisDistance",
    "ManhattanDistance",
    "MinkowskiDistance",
    "SEuclideanDistance",
)

TRUSTED_TYPES: tuple[str, ...] = (
    "numpy.dtype",
    "sklearn._loss.loss.HalfTweedieLoss",
    "sklearn._loss.loss.HalfTweedieLossIdentity",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.compose._column_transformer._RemainderColsList",
    "sklearn.compose._column_transformer.make_column_selector",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
    *(f"sklearn.gaussian_process.kernels.{name}" for name in _KERNELS),
    *(f"sklearn.metrics._dist_metrics.{name}{width}" for name in _DISTANCES for width in ("", "32", "64")),
    "sklearn.metrics._scorer._CurveScorer",
    "sklearn.metrics._scorer._PassthroughScorer",
    "sklearn.metrics._scorer._Scorer",
    "sklearn.metrics._classification.accuracy_score",
    "sklearn.metrics._classification.balanced_accuracy_score",
    "sklearn.multiclass._ConstantPredictor",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.preprocessing._label.LabelEncoder",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
    "sklearn.utils._metadata_requests.MetadataRequest",
    "sklearn.utils._metadata_requests.MethodMetadataRequest",
)
"""Internal types of scikit-learn that are always trusted. None of them runs code that the file chooses."""

# Types of the standard library that cannot run code. An attacker could use any other one.
_HARMLESS_STANDARD = frozenset(
    {
        "collections.Counter",
        "collections.OrderedDict",
        "collections.defaultdict",
        "datetime.date",
        "datetime.datetime",
        "datetime.timedelta",
        "datetime.timezone",
        "decimal.Decimal",
        "fractions.Fraction",
        "functools.partial",
        "pathlib.PosixPath",
        "uuid.UUID",
    }
)


def check(types: Iterable[str], field: str = "trusted_types") -> None:
    """Reject types of Python's standard library, which no model needs and which could run any code.

    The list of types that were trusted at training is stored with the model, where anyone who can write to the registry
    can extend it. With this check, the list can only name types of installed packages, not `os.system`.

    Raises InvalidSpecError.

    >>> check(["my_team.features.LogScaler"])
    >>> check(["os.system"])
    Traceback (most recent call last):
    ...
    airflow_provider_mlops.errors.InvalidSpecError: Invalid trusted_types='os.system': types from Python's \
standard library cannot be trusted, because they could run any code. Use a function or class from your own package \
instead.
    """
    for name in types:
        root = name.partition(".")[0]
        if (root in sys.stdlib_module_names or root == "posix") and name not in _HARMLESS_STANDARD:
            raise InvalidSpecError(
                field,
                name,
                "types from Python's standard library cannot be trusted, because they could run any code. "
                "Use a function or class from your own package instead",
            )
