"""A ranking before anybody has labelled an account: rules' evidence, rarity, distance from peers.

Each part is in bits of rarity: -log2 of the share of accounts in training that stand as high or higher.
One account in a thousand is 10 bits, whatever the part measures, so parts can be added. The rules' part
is their own bits. How much each part counts by default was measured: ``docs/reference/cold-start.md``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.ensemble import IsolationForest
from sklearn.utils.validation import validate_data

from fintel.models.conventions import Floats, checked_input
from fintel.models.logistic import centre

#: A peer group of fewer accounts has no normal; its accounts are compared with all.
FEWEST_PEERS = 30
#: How many of an account's features, those farthest out, make its distance from its peers.
_FARTHEST = 5


class ColdStartScorer(BaseEstimator):  # type: ignore[misc]
    """How suspicious an account looks where there are no labels: the sum of three parts in bits.

    * *rules*: columns of ``X`` with rule evidence in bits, as the ranking gives them, added up.
    * *rarity*: an isolation forest (Liu, Ting & Zhou, 2008) over the other columns.
    * *peers*: the mean of the five greatest distances from the median of the account's peer group (kind
      of customer and country of the account, say; never a protected trait), each as
      ``asinh((x - median) / quartile range)`` without its sign, or with it where ``signs`` say that only
      one side is suspicious.

    Parameters
    ----------
    rules: columns of ``X`` that hold rule evidence (bits, 0 or more). peers: column with the code of the
        peer group, None for one group of all. signs: for each column 1 (only high values are odd), -1, or 0
        (either side); None for all 0. rule_weight, rarity_weight, peer_weight: what a bit of each part
        counts. trees, rows: of the forest, and rows each tree sees. seed: of the forest.

    Attributes
    ----------
    behaviour_: columns that are neither rules nor peers. forest_: the isolation forest. groups_: codes of
    peer groups with a normal of their own. n_features_in_: columns of ``X``.
    """

    def __init__(
        self,
        *,
        rules: tuple[int, ...] = (),
        peers: int | None = None,
        signs: tuple[int, ...] | None = None,
        rule_weight: float = 1.0,
        rarity_weight: float = 0.1,
        peer_weight: float = 0.25,
        trees: int = 200,
        rows: int = 256,
        seed: int = 7,
    ) -> None:
        self.rules = rules
        self.peers = peers
        self.signs = signs
        self.rule_weight = rule_weight
        self.rarity_weight = rarity_weight
        self.peer_weight = peer_weight
        self.trees = trees
        self.rows = rows
        self.seed = seed

    def fit(self, X: Any, y: Any = None) -> ColdStartScorer:
        """Learn what is usual.

        Parameters
        ----------
        X: (rows, columns), numbers or NaN (not known, which counts as usual). y: ignored.

        Raises
        ------
        ValueError: columns that do not exist, no column of behaviour, a weight below 0, or signs that
            are not one a column.
        """
        X = np.asarray(validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan"), np.float64)
        self._check(X.shape[1])
        away = {*self.rules, *(() if self.peers is None else (self.peers,))}
        self.behaviour_ = np.array([i for i in range(X.shape[1]) if i not in away])
        self._learn_normals(X)
        behaviour = self._filled(X)
        self.forest_ = IsolationForest(
            n_estimators=self.trees, max_samples=min(self.rows, X.shape[0]), random_state=self.seed, n_jobs=1
        ).fit(behaviour)
        self.rarity_ = np.sort(-self.forest_.score_samples(behaviour))
        self.distance_ = np.sort(self._distance(X))
        return self

    def parts(self, X: Any) -> Floats:
        """(rows, 3): weighted bits of rules, rarity and peers; their sum is the score."""
        X = checked_input(self, X)
        return np.column_stack(
            [
                self.rule_weight * np.nansum(X[:, list(self.rules)], axis=1),
                self.rarity_weight * rarity(-self.forest_.score_samples(self._filled(X)), self.rarity_),
                self.peer_weight * rarity(self._distance(X), self.distance_),
            ]
        )

    def decision_function(self, X: Any) -> Floats:
        """Bits of each row: higher is more suspicious. Not log odds: nothing here says how many are guilty."""
        return np.asarray(self.parts(X).sum(axis=1), np.float64)

    def score_samples(self, X: Any) -> Floats:
        """The same, by the name that scikit-learn's detectors give it (where theirs is lower for the odd)."""
        return self.decision_function(X)

    def farthest(self, X: Any) -> tuple[npt.NDArray[np.int64], Floats]:
        """For words beside a score: the five columns farthest from the peers, and how far each is.

        Returns
        -------
        columns, distances: (rows, five or as many as there are), the farthest first.
        """
        away = self._deviations(checked_input(self, X))
        order = np.argsort(-away, axis=1, kind="stable")[:, :_FARTHEST]
        return self.behaviour_[order], np.take_along_axis(away, order, axis=1)

    def _check(self, columns: int) -> None:
        named = [*self.rules, *([] if self.peers is None else [self.peers])]
        if not all(0 <= c < columns for c in named) or len(set(named)) != len(named):
            raise ValueError(f"rules and peers name columns 0 to {columns - 1}, each once")
        if len(named) == columns:
            raise ValueError("no column of behaviour is left")
        if self.signs is not None and len(self.signs) != columns:
            raise ValueError(f"{len(self.signs)} signs for {columns} columns")
        if min(self.rule_weight, self.rarity_weight, self.peer_weight) < 0:
            raise ValueError("weights are 0 or more")

    def _learn_normals(self, X: Floats) -> None:
        behaviour = X[:, self.behaviour_]
        everybody = centre(behaviour, np.ones(X.shape[0]))
        self.groups_ = np.zeros(0)
        normals = []
        if self.peers is not None:
            codes, sizes = np.unique(X[:, self.peers], return_counts=True)
            self.groups_ = codes[(sizes >= FEWEST_PEERS) & ~np.isnan(codes)]
            normals = [centre(m, np.ones(len(m))) for m in (behaviour[X[:, self.peers] == g] for g in self.groups_)]
        #: One row a group, the last for everybody without one.
        self.median_ = np.array([m for m, _ in [*normals, everybody]])
        self.scale_ = np.array([s for _, s in [*normals, everybody]])

    def _group(self, X: Floats) -> npt.NDArray[np.int64]:
        last = self.groups_.size
        if self.peers is None or not last:
            return np.full(X.shape[0], last)
        code = X[:, self.peers]
        place = np.minimum(np.searchsorted(self.groups_, code), last - 1)
        return np.where(self.groups_[place] == code, place, last)

    def _filled(self, X: Floats) -> Floats:
        behaviour = X[:, self.behaviour_]
        usual = np.where(np.isnan(behaviour), self.median_[-1], behaviour)
        # The forest works in single precision.
        return np.asarray(np.clip(usual, -1e30, 1e30), np.float64)

    def _deviations(self, X: Floats) -> Floats:
        group = self._group(X)
        behaviour = X[:, self.behaviour_]
        with np.errstate(over="ignore"):
            away = np.arcsinh((behaviour - self.median_[group]) / self.scale_[group])
        away = np.where(np.isnan(away), 0.0, away)
        sign = np.zeros(self.behaviour_.size) if self.signs is None else np.asarray(self.signs)[self.behaviour_]
        return np.where(sign == 0, np.abs(away), np.maximum(sign * away, 0.0))

    def _distance(self, X: Floats) -> Floats:
        away = self._deviations(X)
        kept = min(_FARTHEST, away.shape[1])
        return np.asarray(np.sort(away, axis=1)[:, -kept:].mean(axis=1), np.float64)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


def rarity(values: Floats, known: Floats) -> Floats:
    """Bits of rarity: -log2 of the share of ``known`` (ascending) that is as high or higher.

    Beyond all known values the share is less than one row's; the distance beyond, over the upper half of the
    known range, goes on rising slowly, so that there are no ties at the top.
    """
    size = known.size
    above = size - np.searchsorted(known, values, side="left")
    bits = -np.log2((above + 1.0) / (size + 1.0))
    wide = known[-1] - known[size // 2]
    beyond = np.maximum(values - known[-1], 0.0) / (wide if wide > 0 else 1.0)
    return np.asarray(bits + np.log1p(beyond), np.float64)
