"""Learning from positives and the unlabelled: nobody has looked at most accounts, which proves nothing.

Bagging (Mordelet & Vert, 2014): many small models, each of all positives against another random part of
the unlabelled, so that a hidden positive is rarely learnt as clean; an account is scored by models that
did not learn from it. The share of positives that are labelled (Elkan & Noto, 2008) scales probabilities,
and changes no rank. It presumes that labels were drawn at random among positives; labels that come from
alerts alone are not, which is why a random review sample pays twice.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone

from fintel.models.conventions import Floats, checked_input, checked_training, probabilities
from fintel.models.scorer import BoostedScorer


class PositiveUnlabelledScorer(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Suspicious or not, from labelled positives (1) and unlabelled rows (0).

    Parameters
    ----------
    bags: models. times: unlabelled rows in a bag for each positive. fewest: but no fewer rows than these.
    scorer: what each model is, a boosted scorer of 60 trees if None. seed: of the draws.

    Attributes
    ----------
    models_: fitted scorers. training_margin_: (rows,) of ``fit``, natural log odds, each of models that did
    not learn the row as unlabelled. labelled_share_: estimated share of positives that are labelled.
    """

    def __init__(
        self, *, bags: int = 15, times: float = 5.0, fewest: int = 200, scorer: Any = None, seed: int = 7
    ) -> None:
        self.bags = bags
        self.times = times
        self.fewest = fewest
        self.scorer = scorer
        self.seed = seed

    def fit(self, X: Any, y: Any) -> PositiveUnlabelledScorer:
        """Fit the bags.

        Parameters
        ----------
        X: (rows, features), numbers or NaN. y: (rows,), two values, the greater one for labelled positives.

        Raises
        ------
        ValueError: not two values in ``y``, or no bag.
        """
        if self.bags < 1:
            raise ValueError("at least 1 bag is needed")
        X, target, _ = checked_training(self, X, y, None)
        labelled, rest = np.flatnonzero(target == 1), np.flatnonzero(target == 0)
        size = min(rest.size, max(self.fewest, round(self.times * labelled.size)))
        rng = np.random.default_rng(self.seed)
        self.models_ = []
        total, times = np.zeros(target.size), np.zeros(target.size)
        for bag in range(self.bags):
            # Positives a fifth at a time are left out too, so that their own margins are honest.
            held = labelled[bag % 5 :: 5] if labelled.size >= 5 else labelled[:0]
            seen = np.concatenate([np.setdiff1d(labelled, held), rng.choice(rest, size, replace=False)])
            seen.sort()
            model = self._scorer(bag).fit(X[seen], target[seen])
            self.models_.append(model)
            out = np.ones(target.size, bool)
            out[seen] = False
            if out.any():
                total[out] += model.decision_function(X[out])
                times[out] += 1
        never = times == 0
        if never.any():
            total[never] = self._mean(X[never])
        margin = total / np.where(never, 1.0, times)
        self.labelled_share_ = float(probabilities(margin[labelled])[:, 1].mean())
        self.training_margin_ = margin - self._even()
        return self

    def decision_function(self, X: Any) -> Floats:
        """Margin of each row, the order of suspicion: natural log odds of being labelled in a bag, less those
        at which a row is as likely positive as not."""
        return self._mean(checked_input(self, X)) - self._even()

    def predict_proba(self, X: Any) -> Floats:
        """(rows, 2): probability of being positive in a bag, labelled or not (at most 1)."""
        p = probabilities(self.decision_function(X) + self._even())[:, 1]
        p = np.minimum(p / self.labelled_share_, 1.0)
        return np.column_stack([1.0 - p, p])

    def predict(self, X: Any) -> Any:
        """The more probable class of each row."""
        likely = (self.decision_function(X) > 0).astype(np.int64)
        return self.classes_[likely]

    def _even(self) -> float:
        """Log odds of half the labelled share."""
        half = self.labelled_share_ / 2
        return math.log(half / (1 - half))

    def _mean(self, X: Floats) -> Floats:
        return np.asarray(np.mean([m.decision_function(X) for m in self.models_], axis=0), np.float64)

    def _scorer(self, bag: int) -> Any:
        base = BoostedScorer(rounds=60, threads=1) if self.scorer is None else clone(self.scorer)
        return base.set_params(seed=self.seed + bag) if "seed" in base.get_params() else base

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.classifier_tags.multi_class = False
        # Unlabelled rows that look positive are called so: against the labels given, that is an error.
        tags.classifier_tags.poor_score = True
        return tags
