"""Decision trees, forests and boosting: leaves, their values, and the order in which scikit-learn adds them up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from airflow_provider_mlops.serving.models.compiled import tree_tables
from airflow_provider_mlops.serving.models.compiled.decision import Decision, Outcome, Values, checked_classes
from airflow_provider_mlops.serving.models.compiled.elementwise import Floats
from airflow_provider_mlops.serving.models.compiled.not_compilable import NotCompilableError, unknown
from airflow_provider_mlops.serving.models.compiled.predictor import BITS_64
from airflow_provider_mlops.serving.models.compiled.tree_tables import Tree

_LARGEST_32_BITS = float(np.finfo(np.float32).max)


class Trees:
    """Trees and what their leaves say.

    Parameters
    ----------
    values
        Per tree, the value of each node.
    width
        Number of features.
    dtype
        Type of the numbers in which features are compared with thresholds.
    accepts_missing
        Whether features may be missing.
    """

    def __init__(
        self, trees: Sequence[Tree], values: Sequence[NDArray[Any]], width: int, dtype: type, *, accepts_missing: bool
    ) -> None:
        if not trees:
            raise NotCompilableError("there are no trees")
        self._leaves = tree_tables.find_leaves(trees, dtype)
        self._values = np.concatenate([value[nodes] for value, nodes in zip(values, self._leaves.nodes, strict=True)])
        self._dtype: Any = dtype
        self._trees, self._width = trees, width
        self._accepts_missing = accepts_missing
        if not np.isfinite(self._values).all():
            raise NotCompilableError("a tree has a leaf whose value is not finite")

    def values(self, features: Floats) -> Floats | None:
        """Return the values of the leaves, of shape (rows, trees, ...); None if scikit-learn must see the rows."""
        if not np.isfinite(features).all() and (not self._accepts_missing or np.isinf(features).any()):
            return None
        if self._dtype is np.float32:
            if np.fmax.reduce(np.abs(features), axis=None, initial=0.0) > _LARGEST_32_BITS:
                return None
            features = features.astype(np.float32)
        return self._values.take(self._leaves.of(features), axis=0)

    def edges(self) -> Floats | None:
        """Return rows that reach the leaves over thresholds."""
        rows = tree_tables.edges(self._trees, self._width, self._dtype)
        return None if rows is None else rows.astype(np.float64)


class Forest:
    """A decision tree or a forest of them, whose trees vote with the values of their leaves."""

    tolerance: float = BITS_64

    def __init__(self, estimator: Any, probabilities: bool) -> None:
        single = hasattr(estimator, "tree_")
        members = [estimator] if single else list(estimator.estimators_)
        if estimator.n_outputs_ != 1:
            raise NotCompilableError("the trees have several targets")
        trees = [member.tree_ for member in members]
        self._trees = _of_scikit_learn(trees, estimator.n_features_in_, accepts_missing=_accepts_missing(estimator))
        # A single tree is not divided, and a forest's sum begins with 0.
        self._count = 0 if single else len(members)
        self._classes = checked_classes(estimator.classes_) if hasattr(estimator, "classes_") else None
        if (self._classes is None) == probabilities:
            raise unknown(estimator)

    def predict(self, features: Floats) -> tuple[NDArray[Any], Floats | None] | None:
        """Return values or classes, and probabilities; None if scikit-learn must predict. Keeps `features`."""
        votes = self._trees.values(features)
        if votes is None:
            return None
        mean = votes[:, 0] if not self._count else np.add.accumulate(votes, axis=1)[:, -1] / self._count
        if self._classes is None:
            return mean[:, 0], None
        return self._classes.take(mean.argmax(axis=1), axis=0), mean

    def edges(self) -> Floats | None:
        """Return rows that reach the leaves over thresholds."""
        return self._trees.edges()


class Boosting:
    """Boosting: the leaves of all trees add up to scores.

    Parameters
    ----------
    baseline
        Scores before the first tree, one for each target of the trees.
    outcome
        What the scores mean.
    tolerance
        Permitted relative difference of values and probabilities.
    """

    def __init__(self, trees: Trees, baseline: NDArray[Any], outcome: Outcome, *, tolerance: float = BITS_64) -> None:
        self.tolerance = tolerance
        self._trees, self._baseline, self._outcome = trees, baseline, outcome

    def predict(self, features: Floats) -> tuple[NDArray[Any], Floats | None] | None:
        """Return values or classes, and probabilities; None if scikit-learn must predict. Keeps `features`."""
        added = self._trees.values(features)
        if added is None:
            return None
        scores = added.reshape(len(added), -1, len(self._baseline))
        scores[:, 0] += self._baseline
        # Accumulated, not summed: the libraries add one tree after the other, and the last digits show it.
        return self._outcome.of(np.add.accumulate(scores, axis=1)[:, -1])

    def edges(self) -> Floats | None:
        """Return rows that reach the leaves over thresholds."""
        return self._trees.edges()


def compile_trees(estimator: Any, probabilities: bool) -> Forest | Boosting:
    """Return the arithmetic of an estimator that consists of trees. Raises NotCompilableError."""
    from sklearn import ensemble, tree

    kind = type(estimator)
    if kind in (
        ensemble.ExtraTreesClassifier,
        ensemble.ExtraTreesRegressor,
        ensemble.RandomForestClassifier,
        ensemble.RandomForestRegressor,
        tree.DecisionTreeClassifier,
        tree.DecisionTreeRegressor,
        tree.ExtraTreeClassifier,
        tree.ExtraTreeRegressor,
    ):
        return Forest(estimator, probabilities)
    if kind in (ensemble.GradientBoostingClassifier, ensemble.GradientBoostingRegressor):
        return _gradient_boosting(estimator, probabilities)
    if kind in (ensemble.HistGradientBoostingClassifier, ensemble.HistGradientBoostingRegressor):
        return _histogram_boosting(estimator, probabilities)
    raise unknown(estimator)


def _gradient_boosting(estimator: Any, probabilities: bool) -> Boosting:
    from sklearn.dummy import DummyClassifier, DummyRegressor

    width = estimator.n_features_in_
    if type(estimator.init_) not in (DummyClassifier, DummyRegressor):
        raise NotCompilableError("the boosting begins with another estimator's predictions")
    # The only way to the first score, which is the same for all rows.
    baseline = np.asarray(estimator._raw_predict_init(np.zeros((1, width))), dtype=np.float64)[0]
    stages = [one.tree_ for stage in estimator.estimators_ for one in stage]
    factor = float(estimator.learning_rate)
    trees = _of_scikit_learn(stages, width, factor=factor, flat=True, accepts_missing=False)
    if not hasattr(estimator, "classes_"):
        return Boosting(trees, baseline, Values())
    if estimator.loss != "log_loss":
        raise NotCompilableError(f"boosting with the loss {estimator.loss!r} has no compiled form")
    decision = Decision(estimator.classes_, zero_is_positive=True, probabilities=probabilities)
    return Boosting(trees, baseline, decision)


def _histogram_boosting(estimator: Any, probabilities: bool) -> Boosting:
    if estimator.is_categorical_ is not None:
        raise NotCompilableError("boosting with categorical features has no compiled form")
    trees: list[Tree] = []
    values: list[Floats] = []
    for iteration in estimator._predictors:
        for predictor in iteration:
            nodes = predictor.nodes
            if nodes["is_categorical"].any():
                raise NotCompilableError("boosting with categorical features has no compiled form")
            leaf = nodes["is_leaf"].astype(bool)
            trees.append(
                Tree(
                    nodes["feature_idx"].astype(np.intp),
                    nodes["num_threshold"].astype(np.float64),
                    np.where(leaf, -1, nodes["left"].astype(np.intp)),
                    np.where(leaf, -1, nodes["right"].astype(np.intp)),
                    nodes["missing_go_to_left"].astype(bool),
                )
            )
            values.append(nodes["value"].astype(np.float64))
    table = Trees(trees, values, estimator.n_features_in_, np.float64, accepts_missing=True)
    baseline = np.asarray(estimator._baseline_prediction, dtype=np.float64).reshape(-1)
    if hasattr(estimator, "classes_"):
        decision = Decision(estimator.classes_, zero_is_positive=False, probabilities=probabilities)
        return Boosting(table, baseline, decision)
    return Boosting(table, baseline, Values(np.exp if estimator.loss in ("poisson", "gamma") else None))


def _of_scikit_learn(
    members: Sequence[Any], width: int, *, accepts_missing: bool, factor: float = 1.0, flat: bool = False
) -> Trees:
    trees = [
        Tree(
            member.feature.astype(np.intp),
            member.threshold.astype(np.float64),
            member.children_left.astype(np.intp),
            member.children_right.astype(np.intp),
            member.missing_go_to_left.astype(bool),
        )
        for member in members
    ]
    values = [member.value[:, 0, 0] if flat else member.value[:, 0, :] for member in members]
    if factor != 1.0:
        values = [value * factor for value in values]
    return Trees(trees, values, width, np.float32, accepts_missing=accepts_missing)


def _accepts_missing(estimator: Any) -> bool:
    """Return whether the trees take missing values, which depends on how they were trained."""
    try:
        estimator.predict(np.full((1, estimator.n_features_in_), np.nan))
    except ValueError:
        return False
    return True
