"""Gradient-boosted trees in scikit-learn's conventions: deterministic, unknown values as they are."""

from __future__ import annotations

import os
from typing import Any

import lightgbm
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

from fintel.models.conventions import Floats, checked_input, checked_training
from fintel.models.margins import margins_of

#: Taken as they are; anything else becomes the first. Half the memory counts where rows are payments.
_REALS = (np.float64, np.float32)


class BoostedScorer(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Suspicious or not, by LightGBM.

    Equal data, parameters and seed give equal trees on any number of threads. NaN is a value of its
    own: 'not known'. ``positive_weight`` is what one positive counts for; the ratio of classes is a
    bad choice, 1 to 10 are good ones.

    Parameters
    ----------
    rounds: trees. leaves: leaves of each. learning_rate: shrinkage. min_rows: rows a leaf needs.
    columns: share of features a tree may use. l2: penalty on leaf values.
    monotone: for each feature 1 (only raises), -1 or 0; None for no constraint.
    seed: of column sampling. threads: 0 = one a core.

    Attributes
    ----------
    booster_: the trees. classes_: [0, 1] or what ``y`` held. n_features_in_: columns.
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
        threads: int = 0,
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
        self.threads = threads

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> BoostedScorer:
        """Grow the trees.

        Parameters
        ----------
        X: (rows, features), numbers or NaN. y: (rows,), two classes; the greater one is 'suspicious'.
        sample_weight: (rows,), or None.

        Raises
        ------
        ValueError: not two classes, or a positive weight outside 1 to 10.
        """
        return self.prepare(X, y, sample_weight).grow(self.rounds)

    def prepare(self, X: Any, y: Any, sample_weight: Any = None) -> BoostedScorer:
        """``fit`` without trees yet: for callers that ``grow`` them while they watch."""
        X, target, weight = checked_training(self, X, y, sample_weight, self.positive_weight, dtypes=_REALS)
        given = None if sample_weight is None else weight
        settings = self._settings()
        self.booster_ = lightgbm.Booster(settings, lightgbm.Dataset(X, target, weight=given, params=settings))
        return self

    def grow(self, rounds: int) -> BoostedScorer:
        """Add trees."""
        for _ in range(rounds):
            self.booster_.update()
        return self

    def _settings(self) -> dict[str, Any]:
        monotone = {} if self.monotone is None else {"monotone_constraints": list(self.monotone)}
        return monotone | {
            "objective": "binary",
            "num_leaves": self.leaves,
            "learning_rate": self.learning_rate,
            "min_data_in_leaf": self.min_rows,
            "feature_fraction": self.columns,
            "lambda_l2": self.l2,
            "scale_pos_weight": self.positive_weight,
            "max_bin": 255,
            "seed": self.seed,
            "num_threads": self.threads,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
        }

    def decision_function(self, X: Any) -> Floats:
        """Margin of each row, natural log odds."""
        X = checked_input(self, X, dtypes=_REALS)
        many = margins_of(self.booster_, X, threads=self.threads or os.cpu_count() or 1)
        return self._predict(X, raw_score=True) if many is None else many

    def predict_proba(self, X: Any) -> Floats:
        """(rows, 2): probabilities of both classes under the training weights."""
        p = self._predict(X)
        return np.column_stack([1.0 - p, p])

    def predict(self, X: Any) -> Any:
        """The more probable class of each row."""
        likely = (self.decision_function(X) > 0).astype(np.int64)
        return self.classes_[likely]

    def contributions(self, X: Any) -> Floats:
        """(rows, features + 1): exact TreeSHAP values in natural log odds, the base last.

        Each row adds up to its ``decision_function``.
        """
        return self._predict(X, pred_contrib=True)

    def _predict(self, X: Any, **how: Any) -> Floats:
        X = checked_input(self, X, dtypes=_REALS)
        return np.asarray(self.booster_.predict(X, num_threads=self.threads, **how), np.float64)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.classifier_tags.multi_class = False
        return tags
