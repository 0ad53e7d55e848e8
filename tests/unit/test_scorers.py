"""Scorers: scikit-learn's conventions, exact contributions, equal bytes, rare classes, known signs."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from models_cases import population
from sklearn.utils.estimator_checks import parametrize_with_checks
from threadpoolctl import threadpool_limits

from fintel.config import Settings
from fintel.errors import ModelError
from fintel.features.catalog import BY_NAME, FEATURES
from fintel.models.histogram import HistogramScorer
from fintel.models.logistic import LogisticScorer
from fintel.models.scorer import BoostedScorer
from fintel.models.training import train

LEAF = {"check_sample_weight_equivalence_on_dense_data": "a leaf's least number of rows counts rows, not weights"}
SCORERS = [LogisticScorer(), HistogramScorer(rounds=30), BoostedScorer(rounds=30)]


@parametrize_with_checks([LogisticScorer()])
def test_logistic_keeps_the_conventions(estimator: Any, check: Any) -> None:
    check(estimator)


@parametrize_with_checks(
    [HistogramScorer(rounds=20, min_rows=1, l2=0.0)],
    expected_failed_checks=lambda _: LEAF,
)
def test_histogram_keeps_the_conventions(estimator: Any, check: Any) -> None:
    check(estimator)


def rows(number: int = 2_000, features: int = 6, *, positives: float = 0.1, seed: int = 0) -> tuple[Any, Any]:
    """Heavy tails, unknown values, a column that never varies; the first three say something."""
    rng = np.random.default_rng(seed)
    x = np.exp(2 * rng.normal(size=(number, features)))
    x[:, -1] = 3.0
    margin = np.log(x[:, 0]) + np.log(x[:, 1]) * (x[:, 2] > 1) + rng.normal(size=number)
    x[rng.random(x.shape) < 0.1] = np.nan
    return x, (margin >= np.sort(margin)[-max(1, round(positives * number))]).astype(float)


@pytest.mark.parametrize("scorer", SCORERS, ids=lambda s: type(s).__name__)
def test_contributions_add_up_and_order_rows_does_not_matter_to_them(scorer: Any) -> None:
    x, y = rows()
    scorer.fit(x, y)
    parts = scorer.contributions(x)
    assert parts.shape == (x.shape[0], x.shape[1] + 1)
    margin = scorer.decision_function(x)
    assert np.ptp(margin) > 1
    np.testing.assert_allclose(parts.sum(axis=1), margin, rtol=0, atol=1e-9)
    assert np.ptp(parts[:, -1]) == 0
    np.testing.assert_array_equal(scorer.contributions(x[::-1])[::-1], parts)
    np.testing.assert_allclose(scorer.predict_proba(x)[:, 1], 1 / (1 + np.exp(-margin)), atol=1e-12)


def test_histogram_contributions_are_the_shapley_values_by_definition() -> None:
    x, y = rows(600, 5)
    scorer = HistogramScorer(rounds=6, leaves=7, columns=1.0).fit(x, y)
    trees = [tree.nodes for (tree,) in scorer.trees_._predictors]

    def worth(row: Any, inside: frozenset[int], tree: Any, place: int = 0) -> float:
        """The tree's mean where only features inside are known of the row."""
        node = tree[place]
        if node["is_leaf"]:
            return float(node["value"])
        sides = [int(node["left"]), int(node["right"])]
        feature = int(node["feature_idx"])
        if feature in inside:
            known = row[feature] <= node["num_threshold"]
            left = bool(node["missing_go_to_left"]) if np.isnan(row[feature]) else bool(known)
            return worth(row, inside, tree, sides[0 if left else 1])
        share = [int(tree[s]["count"]) / int(node["count"]) for s in sides]
        return sum(p * worth(row, inside, tree, s) for p, s in zip(share, sides, strict=True))

    for row, found in zip(x[:6], scorer.contributions(x[:6]), strict=True):
        for feature in range(5):
            others = [i for i in range(5) if i != feature]
            expected = 0.0
            for size in range(5):
                share = math.factorial(size) * math.factorial(4 - size) / math.factorial(5)
                for chosen in itertools.combinations(others, size):
                    without = frozenset(chosen)
                    expected += share * sum(worth(row, without | {feature}, t) - worth(row, without, t) for t in trees)
            assert found[feature] == pytest.approx(expected, abs=1e-12)


def test_logistic_contribution_is_the_coefficient_times_the_distance_from_the_mean() -> None:
    x, y = rows()
    scorer = LogisticScorer(l2=0.5).fit(x, y)
    far = np.arcsinh((np.nan_to_num(x[:, 0], nan=scorer.median_[0]) - scorer.median_[0]) / scorer.scale_[0])
    own = list(scorer.unknown_).index(0) + x.shape[1]
    missing = np.isnan(x[:, 0]).astype(float)
    expected = scorer.coef_[0] * (far - far.mean()) + scorer.coef_[own] * (missing - missing.mean())
    np.testing.assert_allclose(scorer.contributions(x)[:, 0], expected, atol=1e-12)


def test_contributions_that_do_not_add_up_are_an_error() -> None:
    x, y = rows(300)
    scorer = HistogramScorer(rounds=5).fit(x, y)
    own = scorer.trees_.decision_function
    scorer.trees_.decision_function = lambda x: own(x) + 1e-8
    with pytest.raises(ModelError, match="miss the score"):
        scorer.contributions(x)
    del scorer.trees_._predictors
    with pytest.raises(ModelError, match="cannot be read"):
        scorer.contributions(x)


@pytest.mark.parametrize("scorer", SCORERS, ids=lambda s: type(s).__name__)
def test_equal_bytes_on_one_and_two_threads(scorer: Any) -> None:
    x, y = rows(20_000)
    found = []
    for threads in (1, 2):
        if "threads" in scorer.get_params():
            scorer.set_params(threads=threads)
        with threadpool_limits(limits=threads):
            scorer.fit(x, y)
            found.append((scorer.decision_function(x).tobytes(), scorer.contributions(x[:50]).tobytes()))
    assert found[0] == found[1]


@pytest.mark.parametrize("scorer", SCORERS, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("positives", [1, 2, 10])
def test_one_in_ten_thousand_gives_finite_and_equal_margins(scorer: Any, positives: int) -> None:
    x, y = rows(10_000 * min(positives, 2), 4, positives=positives / (10_000 * min(positives, 2)))
    assert y.sum() == positives
    margin = scorer.fit(x, y).decision_function(x)
    assert np.isfinite(margin).all()
    assert np.isfinite(scorer.contributions(x[:500])).all()
    np.testing.assert_array_equal(scorer.fit(x, y).decision_function(x), margin)
    assert margin[y == 1].mean() > margin[y == 0].mean()
    strange = np.array([[0.0] * 4, [1e300] * 4, [-1e300] * 4, [np.nan] * 4])
    assert np.isfinite(scorer.decision_function(strange)).all()


@pytest.mark.parametrize("kind", [HistogramScorer, BoostedScorer])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), sign=st.sampled_from([-1, 1]), raised=st.floats(1e-3, 1e6))
def test_a_known_sign_holds_for_every_row_and_rise(kind: Any, seed: int, sign: int, raised: float) -> None:
    x, y = rows(400, 4, seed=seed)
    y = np.where(np.random.default_rng(seed).random(400) < 0.3, 1 - y, y)
    scorer = kind(rounds=15, monotone=(sign, 0, sign, 0)).fit(x, y)
    more = x.copy()
    more[:, [0, 2]] += raised
    assert (sign * (scorer.decision_function(more) - scorer.decision_function(x)) >= -1e-12).all()


def test_categories_text_and_wrong_settings_are_refused() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is no part of fintel")
    x, y = rows(100)
    table = pandas.DataFrame(x).assign(kind=pandas.Categorical([1, 2] * 50))
    with pytest.raises(ValueError, match="categories are refused"):
        HistogramScorer().fit(table, y)
    with pytest.raises(ValueError, match="could not convert"):
        HistogramScorer().fit(np.array([["a"], ["b"]] * 50, dtype=object), y)
    for scorer in (LogisticScorer(positive_weight=99), HistogramScorer(positive_weight=99)):
        with pytest.raises(ValueError, match="1 to 10"):
            scorer.fit(x, y)
    with pytest.raises(ValueError, match="greater than 0"):
        LogisticScorer(l2=0.0).fit(x, y)


def test_signs_of_features_are_published_and_reach_the_model(root: Path) -> None:
    published = yaml.safe_load((root / "rules/indicators.yaml").read_text())["indicators"]
    signed = [f for f in FEATURES if f.sign]
    assert {"senders_30d", "passed_on_share_90d", "cash_in_count_7d", "sender_countries_90d"} <= {
        f.name for f in signed
    }
    assert "recipients_30d" not in {f.name for f in signed}
    for feature in FEATURES:
        # A rule is an indicator made executable: hits need no other.
        assert bool(feature.sign) == bool(feature.basis or feature.family == "rules"), feature.name
        assert set(feature.basis) <= set(published), feature.name


def test_a_trained_model_never_falls_where_a_signed_feature_rises() -> None:
    model = train(population(accounts=300, schemes=40), settings=Settings(threads=1, seed=3)).model
    names = model.card.names
    rng = np.random.default_rng(0)
    quantiles = [f.quantiles for f in model.card.features]
    x = np.array([[rng.choice(q) for q in quantiles] for _ in range(400)])
    before = model.scorer.decision_function(x)
    signed = [i for i, name in enumerate(names) if BY_NAME[name].sign]
    assert len(signed) >= 4
    moved = 0.0
    for i in signed:
        more = x.copy()
        more[:, i] += rng.gamma(1.0, 1.0, 400) * (1 + x[:, i])
        change = model.scorer.decision_function(more) - before
        assert change.min() >= -1e-12, names[i]
        moved = max(moved, change.max())
    assert moved > 0.1
