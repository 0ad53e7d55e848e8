"""Contributions by leaf are those of LightGBM, for whatever trees and values."""

from __future__ import annotations

from types import SimpleNamespace

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fintel.errors import ModelError
from fintel.features.catalog import BY_NAME, model_features
from fintel.features.recipes import Growth
from fintel.models.explain import bits, describe, reasons
from fintel.models.saved import FeatureCard, scorer_of
from fintel.models.scorer import BoostedScorer
from fintel.models.trees import MOST_DEPTH, parsed
from fintel.models.treeshap import MOST_FEATURES, contributions, forest


def trained(seed, features, leaves, rounds, **more):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(1_500, features))
    x[:, ::2] = np.round(x[:, ::2])
    x[rng.random(x.shape) < 0.15] = np.nan
    x[rng.random(x.shape) < 0.15] = 0.0
    y = (np.nan_to_num(x).sum(axis=1) + np.isnan(x[:, 0]) + rng.normal(size=len(x)) > 1).astype(float)
    how = {"objective": "binary", "num_leaves": leaves, "min_data_in_leaf": 3, "verbosity": -1, "num_threads": 1}
    return x, lightgbm.train(how | more, lightgbm.Dataset(x, y, params=how | more), rounds)


@settings(max_examples=12, deadline=None)
@given(
    st.integers(0, 99), st.sampled_from([1, 3, 12, 40]), st.sampled_from([2, 7, 31, 120]),
    st.sampled_from([{}, {"zero_as_missing": True}, {"use_missing": False}, {"feature_fraction": 0.5}]),
)  # fmt: skip
def test_contributions_are_those_of_lightgbm(seed, features, leaves, more):
    x, booster = trained(seed, features, leaves, 5, **more)
    odd = np.array([np.nan, 0.0, -0.0, 1e-36, -1e-36, -1e-35, -float(np.float32(1e-35)), np.inf, -np.inf, 1e300])
    asked = np.vstack([x[:300], np.random.default_rng(seed).choice(odd, (60, features))])
    found = contributions(forest(booster), asked)
    np.testing.assert_allclose(found, booster.predict(asked, pred_contrib=True, num_threads=1), atol=1e-9, rtol=0)
    np.testing.assert_allclose(found.sum(axis=1), booster.predict(asked, raw_score=True, num_threads=1), atol=1e-9)


def test_deep_ways_are_worked_out_row_by_row():
    x, booster = trained(1, 60, 255, 6)
    of = forest(booster)
    assert np.diff(of.step_start).max() > 14
    found = contributions(of, x[:200])
    np.testing.assert_allclose(found, booster.predict(x[:200], pred_contrib=True, num_threads=1), atol=1e-9, rtol=0)


def test_contributions_do_not_depend_on_threads_or_on_who_else_is_asked():
    x, booster = trained(2, 20, 31, 10)
    of = forest(booster)
    many = np.tile(x, (4, 1))
    one = contributions(of, many)
    assert one.tobytes() == contributions(of, many, threads=2).tobytes()
    assert contributions(of, many[2_500:2_503]).tobytes() == one[2_500:2_503].tobytes()
    assert contributions(of, x.astype(np.float32)).shape == (len(x), 21)


def test_a_scorers_bits_add_up_to_its_margin():
    x, _ = trained(3, 10, 7, 1)
    y = (np.nan_to_num(x[:, 1]) > 0).astype(float)
    scorer = BoostedScorer(rounds=20, threads=1).fit(x, y)
    parts, base = bits(scorer, x)
    np.testing.assert_allclose((parts.sum(axis=1) + base) * np.log(2), scorer.decision_function(x), atol=1e-9)


def test_reasons_add_up_and_say_each_family_by_what_says_most():
    rng = np.random.default_rng(6)
    names = tuple(f.name for f in model_features(1_000))
    quantiles = [tuple(np.sort(rng.integers(0, 50, 101)).astype(float)) for _ in names]
    cards = tuple(FeatureCard(name=n, known=0.9, quantiles=q) for n, q in zip(names, quantiles, strict=True))
    card = SimpleNamespace(features=cards, names=names, base_currency="USD")
    x = np.round(rng.gamma(1, 20, (60, len(names))))
    x[rng.random(x.shape) < 0.2] = np.nan
    parts = rng.normal(size=x.shape) * (rng.random(x.shape) < 0.1)
    accounts = [f"a{i // 2}" for i in range(len(x))]
    told = reasons(card, accounts, x, parts)
    at = 0
    for account, values, of_row in zip(accounts, x, parts, strict=True):
        families = dict.fromkeys(BY_NAME[n].family for n in names)
        for family in families:
            mine = [i for i, n in enumerate(names) if BY_NAME[n].family == family]
            total = sum(of_row[i] for i in mine)
            if not of_row[mine].any():
                continue
            row = told.row(at, named=True)
            at += 1
            said = sorted(mine, key=lambda i: -of_row[i] * np.sign(total))
            texts = [describe(cards[i], values[i], "USD") for i in said[:2]]
            both = len(said) > 1 and of_row[said[1]] / of_row[said[0]] >= 0.5
            assert (row["account_id"], row["name"]) == (account, names[said[0]])
            assert row["text"] == ("; ".join(texts) if both else texts[0])
            assert row["bits"] == pytest.approx(total, abs=1e-12)
    assert at == told.height
    assert reasons(card, [], x[:0], parts[:0]).schema == told.schema


def chain(leaves, features, trees=1):
    """The text of trees that are one long way: each split lets one row go and asks the next feature."""
    nodes = range(leaves - 1)
    of_nodes = {
        "split_feature": [k % features for k in nodes], "split_gain": [0] * len(nodes), "threshold": [0] * len(nodes),
        "decision_type": [10] * len(nodes), "left_child": [~k for k in nodes],
        "right_child": [*nodes[1:], -leaves], "internal_value": [0] * len(nodes), "internal_weight": [0] * len(nodes),
        "internal_count": [leaves - k for k in nodes], "leaf_value": [0] * len(nodes) + [5],
        "leaf_weight": [1] * leaves, "leaf_count": [1] * leaves,
    }  # fmt: skip
    lines = [f"num_leaves={leaves}", "num_cat=0", "shrinkage=1"]
    lines += [f"{key}={' '.join(map(str, values))}" for key, values in of_nodes.items()]
    head = ["tree", "version=v4", "num_class=1", "num_tree_per_iteration=1", f"max_feature_idx={features - 1}"]
    body = ["\n".join([f"Tree={number}", *lines]) for number in range(trees)]
    return "\n\n".join(["\n".join([*head, "objective=binary sigmoid:1"]), *body, "end of trees"])


@pytest.mark.parametrize("features", [20, MOST_FEATURES, 70])
def test_what_is_told_adds_up_to_the_score_or_is_refused(features):
    scorer = scorer_of(chain(features + 1, features), features, threads=1)
    x = np.where(np.random.default_rng(0).random((400, features)) < np.linspace(0, 1, 400)[:, None], 1.0, -1.0)
    if features <= MOST_FEATURES:
        parts, base = bits(scorer, x)
        np.testing.assert_allclose((parts.sum(axis=1) + base) * np.log(2), scorer.decision_function(x), atol=1e-5)
    else:
        with pytest.raises(ModelError, match="up to 40"):
            contributions(forest(scorer.booster_), x)
        with pytest.raises(ModelError, match="add up"):
            bits(scorer, x)


def test_ways_are_of_bounded_length():
    assert len(parsed(chain(MOST_DEPTH + 1, 4), 4)) == 1
    with pytest.raises(ModelError, match="more than 256 splits"):
        parsed(chain(MOST_DEPTH + 2, 4), 4)
    with pytest.raises(ModelError, match="5,000,000 splits"):
        parsed(chain(MOST_DEPTH + 1, 4, trees=160), 4)


@pytest.mark.parametrize(("leaves", "rounds"), [(31, 300), (255, 30)])
def test_trees_grown_on_noise_are_within_the_bounds(leaves, rounds):
    rng = np.random.default_rng(0)
    x, y = rng.lognormal(size=(6_000, 30)) ** 3, (rng.random(6_000) < 0.02).astype(float)
    how = {"objective": "binary", "num_leaves": leaves, "min_data_in_leaf": 3, "verbosity": -1, "num_threads": 1}
    text = lightgbm.train(how, lightgbm.Dataset(x, y), rounds).model_to_string()
    assert len(parsed(text, 30)) == rounds


def test_a_number_beyond_all_doublings_has_words():
    growth = next(f.name for f in model_features(1_000) if isinstance(f.recipe, Growth))
    card = FeatureCard(name=growth, known=1, quantiles=(-1e308, 1e5, 1e308))
    for value in (1e308, -1e308, 1.0):
        assert "percentile" in describe(card, value, "USD")


def test_other_trees_are_refused():
    x, _ = trained(4, 3, 7, 1)
    booster = lightgbm.train({"verbosity": -1, "num_threads": 1}, lightgbm.Dataset(x, x[:, 0] > 0), 2)
    with pytest.raises(ModelError, match="objective"):
        forest(booster)
