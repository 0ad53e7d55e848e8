"""Histogram boosting from scikit-learn: a challenger to LightGBM, and what is left where that is absent."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits

from fintel.errors import ModelError
from fintel.models import tree_values
from fintel.models.conventions import Floats, checked_input, checked_training, probabilities

#: How far a row's contributions may add up beside its margin, in nats.
_EXACT = 1e-9


class HistogramScorer(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Suspicious or not, by scikit-learn's histogram gradient boosting. Numbers only.

    Categories are refused: they cannot be explained exactly here (and are explained wrongly elsewhere).
    Trees are grown on one thread, for how gradients are summed among threads changes the last digits;
    equal data, parameters and seed give equal trees on any machine's number of threads.

    Parameters
    ----------
    rounds: trees. leaves: leaves of each. learning_rate: shrinkage. min_rows: rows a leaf needs.
    columns: share of features a split may use. l2: penalty on leaf values.
    positive_weight: what one positive counts for, 1 to 10.
    monotone: for each feature 1 (only raises), -1 or 0; None for no constraint. seed: of column sampling.

    Attributes
    ----------
    trees_: the fitted estimator. classes_, n_features_in_: as everywhere in scikit-learn.
    """

    def __init__(
        self,
        *,
        rounds: int = 150,
        leaves: int = 15,
        learning_rate: float = 0.05,
        min_rows: int = 10,
        columns: float = 0.5,
        l2: float = 5.0,
        positive_weight: float = 1.0,
        monotone: tuple[int, ...] | None = None,
        seed: int = 7,
    ) -> None:
        self.rounds = rounds
        self.leaves = leaves
        self.learning_rate = learning_rate
        self.min_rows = min_rows
        self.columns = columns
        self.l2 = l2
        self.positive_weight = positive_weight
        self.monotone = monotone
        self.seed = seed

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> HistogramScorer:
        """Grow the trees.

        Parameters
        ----------
        X: (rows, features), numbers or NaN. y: (rows,), two classes; the greater one is 'suspicious'.
        sample_weight: (rows,), or None.

        Raises
        ------
        ValueError: categories, not two classes, or a positive weight outside 1 to 10.
        """
        _refuse_categories(X)
        X, target, weight = checked_training(self, X, y, sample_weight, self.positive_weight)
        weight = np.where(target == 1, self.positive_weight, 1.0) * weight
        seen = weight > 0
        self.trees_ = HistGradientBoostingClassifier(
            max_iter=self.rounds,
            max_leaf_nodes=self.leaves,
            learning_rate=self.learning_rate,
            min_samples_leaf=self.min_rows,
            max_features=self.columns,
            l2_regularization=self.l2,
            monotonic_cst=None if self.monotone is None else list(self.monotone),
            categorical_features=None,
            early_stopping=False,
            random_state=self.seed,
        )
        with threadpool_limits(limits=1):
            self.trees_.fit(X[seen], target[seen], sample_weight=weight[seen])
        self.n_iter_ = self.trees_.n_iter_
        return self

    def decision_function(self, X: Any) -> Floats:
        """Margin of each row, natural log odds."""
        X = checked_input(self, X)
        return np.asarray(self.trees_.decision_function(X), np.float64)

    def predict_proba(self, X: Any) -> Floats:
        """(rows, 2): probabilities of both classes under the training weights."""
        return probabilities(self.decision_function(X))

    def predict(self, X: Any) -> Any:
        """The more probable class of each row."""
        likely = (self.decision_function(X) > 0).astype(np.int64)
        return self.classes_[likely]

    def contributions(self, X: Any) -> Floats:
        """(rows, features + 1): exact TreeSHAP values in natural log odds, the base last.

        Raises
        ------
        ModelError: a row does not add up to its ``decision_function`` within 1e-9, or scikit-learn keeps
            its trees otherwise than this version knows.
        """
        X = checked_input(self, X)
        parts = tree_values.values(tree_values.paths(self._nodes()), X)
        parts[:, -1] += float(self.trees_._baseline_prediction.item())
        wrong = np.abs(parts.sum(axis=1) - self.trees_.decision_function(X)).max(initial=0.0)
        if not wrong <= _EXACT:
            raise ModelError(
                f"contributions miss the score by {wrong:.2g} nats", hint="this version of scikit-learn is not known"
            )
        return parts

    def _nodes(self) -> list[Any]:
        """Nodes of each tree."""
        try:
            return [tree.nodes for (tree,) in self.trees_._predictors]
        except (AttributeError, ValueError) as error:
            raise ModelError("the trees cannot be read", hint="this version of scikit-learn is not known") from error

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.classifier_tags.multi_class = False
        return tags


def _refuse_categories(X: Any) -> None:
    """A table with a column of categories, by pandas' and polars' names for them."""
    kinds = getattr(X, "dtypes", ())
    for kind in getattr(kinds, "tolist", lambda: kinds)():
        if str(kind).lower().startswith(("categor", "enum")):
            raise ValueError("categories are refused: give numbers (a share, a count), or drop the column")
