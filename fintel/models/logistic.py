"""The plain baseline: a penalised logistic regression that anybody can check with a pocket calculator."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from fintel.models.conventions import Floats, checked_input, checked_training, probabilities

_QUARTILES = (0.25, 0.5, 0.75)


class LogisticScorer(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Suspicious or not, by logistic regression with an L2 penalty.

    Each feature becomes ``asinh((x - median) / quartile range)``: near the median a robust z-score, far
    from it a logarithm, so that one account with a thousandfold turnover does not bend the line. Unknown
    values count as the median and set an indicator of their own, where training knew any. Medians,
    ranges and means are the (weighted) training's.

    Parameters
    ----------
    l2: penalty on squared coefficients, in nats. positive_weight: what one positive counts for, 1 to 10.
    steps: most Newton steps.

    Attributes
    ----------
    median_, scale_: (features,). means_: (terms,) of transformed columns. coef_: (terms,), features first,
    then indicators of ``unknown_`` (their columns). intercept_: natural log odds where all is usual.
    classes_, n_features_in_: as everywhere in scikit-learn.
    """

    def __init__(self, *, l2: float = 1.0, positive_weight: float = 1.0, steps: int = 100) -> None:
        self.l2 = l2
        self.positive_weight = positive_weight
        self.steps = steps

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> LogisticScorer:
        """Fit medians, ranges and coefficients.

        Parameters
        ----------
        X: (rows, features), numbers or NaN. y: (rows,), two classes; the greater one is 'suspicious'.
        sample_weight: (rows,), or None.

        Raises
        ------
        ValueError: not two classes, a penalty of 0 or less, or a positive weight outside 1 to 10.
        """
        if self.l2 <= 0:
            raise ValueError("l2 is greater than 0")
        X, target, weight = checked_training(self, X, y, sample_weight, self.positive_weight)
        weight = np.where(target == 1, self.positive_weight, 1.0) * weight
        seen = weight > 0
        self.median_, self.scale_ = centre(X[seen], weight[seen])
        self.unknown_ = np.flatnonzero(np.isnan(X[seen]).any(axis=0))
        terms = self._terms(X)
        self.means_ = (weight[:, None] * terms).sum(axis=0) / weight.sum()
        line = LogisticRegression(C=1.0 / self.l2, solver="newton-cholesky", tol=1e-8, max_iter=self.steps)
        # One thread: how linear algebra splits sums among threads changes the last digits.
        with threadpool_limits(limits=1):
            line.fit(terms - self.means_, target, sample_weight=weight)
        self.coef_ = line.coef_[0]
        self.intercept_ = float(line.intercept_[0])
        self.n_iter_ = line.n_iter_
        return self

    def decision_function(self, X: Any) -> Floats:
        """Margin of each row, natural log odds."""
        return np.asarray(self.contributions(X).sum(axis=1), np.float64)

    def predict_proba(self, X: Any) -> Floats:
        """(rows, 2): probabilities of both classes under the training weights."""
        return probabilities(self.decision_function(X))

    def predict(self, X: Any) -> Any:
        """The more probable class of each row."""
        likely = (self.decision_function(X) > 0).astype(np.int64)
        return self.classes_[likely]

    def contributions(self, X: Any) -> Floats:
        """(rows, features + 1): what each feature adds to the natural log odds, the base last.

        A feature's part is its coefficient times its distance from the training's mean, its indicator's
        part included; the base is the margin of a row in which all is as the mean. Exact for this model.
        """
        parts = (self._terms(checked_input(self, X)) - self.means_) * self.coef_
        features = self.n_features_in_
        out = np.empty((parts.shape[0], features + 1))
        out[:, :features] = parts[:, :features]
        out[:, self.unknown_] += parts[:, features:]
        out[:, features] = self.intercept_
        return out

    def _terms(self, X: Floats) -> Floats:
        missing = np.isnan(X)
        far = np.arcsinh((np.where(missing, self.median_, X) - self.median_) / self.scale_)
        return np.hstack([far, missing[:, self.unknown_]])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.classifier_tags.multi_class = False
        return tags


def centre(X: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Median and quartile range of each column; where most values are equal, the mean distance from them."""
    median, scale = np.zeros(X.shape[1]), np.ones(X.shape[1])
    for column in range(X.shape[1]):
        known = ~np.isnan(X[:, column])
        if not known.any():
            continue
        values, counts = X[known, column], weight[known]
        low, middle, high = quantiles(values, counts, _QUARTILES)
        spread = high - low if high > low else float(np.average(np.abs(values - middle), weights=counts))
        median[column] = middle
        # A range that is nothing beside the values is rounding, not spread.
        scale[column] = spread if spread > 1e-12 * max(abs(middle), 1e-280) else 1.0
    return median, scale


def quantiles(values: Floats, weight: Floats, at: tuple[float, ...]) -> npt.NDArray[np.float64]:
    """Least values that hold these shares of the weight, the same whether a row has weight 2 or stands twice."""
    order = np.argsort(values, kind="stable")
    held = np.cumsum(weight[order])
    place = np.searchsorted(held, np.asarray(at) * held[-1] * (1 - 1e-12), side="left")
    return np.asarray(values[order][np.minimum(place, values.size - 1)], np.float64)
