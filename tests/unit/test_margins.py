"""Margins of many rows are LightGBM's to the bit."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_treeshap import trained

from fintel.models import margins as of_many
from fintel.models.margins import margins, margins_of, questions
from fintel.models.scorer import BoostedScorer
from fintel.models.trees import parsed

ODD = [np.nan, 0.0, -0.0, 1e-36, -1e-36, np.inf, -np.inf, 1e30, -1e30]


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 99), st.sampled_from([1, 3, 12]), st.sampled_from([2, 7, 32, 33, 64]),
    st.sampled_from([{}, {"use_missing": False}, {"feature_fraction": 0.5}]), st.sampled_from([np.float32, np.float64]),
)  # fmt: skip
def test_margins_are_those_of_lightgbm(seed, features, leaves, more, dtype):
    x, booster = trained(seed, features, leaves, 5, **more)
    asked = questions(parsed(booster.model_to_string(), features), dtype)
    rng = np.random.default_rng(seed)
    # The very thresholds, and what stands next to them, are where rounding would show.
    edges = np.concatenate([asked.threshold, np.nextafter(asked.threshold, np.array(np.inf, dtype)), ODD]).astype(dtype)
    rows = np.vstack([x.astype(dtype), rng.choice(edges, (700, features))])
    found = margins(asked, rows)
    assert found.tobytes() == booster.predict(rows, raw_score=True, num_threads=1).tobytes()


def test_what_is_not_of_the_kind_is_left_to_lightgbm():
    x, wide = trained(1, 12, 120, 3)
    assert questions(parsed(wide.model_to_string(), 12), np.float64) is None
    x, zeros = trained(1, 12, 31, 3, zero_as_missing=True)
    assert questions(parsed(zeros.model_to_string(), 12), np.float64) is None
    many = np.tile(x, (20, 1))
    assert margins_of(wide, many) is None and margins_of(zeros, many) is None
    _, plain = trained(1, 12, 31, 3)
    assert margins_of(plain, x) is None
    assert margins_of(plain, many).tobytes() == plain.predict(many, raw_score=True, num_threads=1).tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_scorer_gives_the_same_for_few_and_for_many_and_for_any_threads(dtype):
    x, _ = trained(5, 8, 7, 1)
    many = np.tile(x, (30, 1)).astype(dtype)
    assert len(many) > of_many._ROWS > of_many._WORTH
    scorer = BoostedScorer(rounds=20, threads=1).fit(x.astype(dtype), (np.nan_to_num(x[:, 1]) > 0).astype(float))
    few = scorer.decision_function(many[:1_500])
    whole = scorer.decision_function(many)
    assert whole.reshape(30, -1)[7].tobytes() == few.tobytes()
    assert scorer.set_params(threads=2).decision_function(many).tobytes() == whole.tobytes()


def test_one_leaf_is_a_margin_too():
    x, booster = trained(2, 3, 7, 2, min_data_in_leaf=1_400)
    assert booster.num_trees() >= 1
    asked = questions(parsed(booster.model_to_string(), 3), np.float64)
    assert margins(asked, x).tobytes() == booster.predict(x, raw_score=True, num_threads=1).tobytes()
    assert isinstance(booster, lightgbm.Booster)
