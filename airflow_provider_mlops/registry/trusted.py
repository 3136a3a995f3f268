"""Which types skops may construct when it loads a model.

skops trusts scikit-learn's public estimators and NumPy's numbers by itself. The types below are
scikit-learn's own inner ones, which fitted models are made of. Everything else has to be named
by the user at training, and is recorded with the model.
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
"""What is trusted without being named: inner types of scikit-learn, none of which runs code of the file's choosing."""

# Names in a model file that a person could have put there to run something; none belongs to a fitted estimator.
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
    """Refuse types that no model needs and that could run anything: those of Python's standard library.

    The list of types that a model's training trusted lies beside the model, where whoever can write to the registry
    can extend it. With this check they can name only what the installed packages define, and not `os.system`.

    Raises InvalidSpecError.

    >>> check(["my_team.features.LogScaler"])
    >>> check(["os.system"])
    Traceback (most recent call last):
    ...
    airflow_provider_mlops.errors.InvalidSpecError: trusted_types='os.system': Python's standard library is not \
trusted in a model, as it could run anything: use a function of your own package and name that
    """
    for name in types:
        root = name.partition(".")[0]
        if (root in sys.stdlib_module_names or root == "posix") and name not in _HARMLESS_STANDARD:
            raise InvalidSpecError(
                field,
                name,
                "Python's standard library is not trusted in a model, as it could run anything: "
                "use a function of your own package and name that",
            )
