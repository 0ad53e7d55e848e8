"""Before there are labels, and where there are only positive ones."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks
from threadpoolctl import threadpool_limits

from fintel.domain.schema import EPISODES
from fintel.frames import empty
from fintel.models.coldstart import ColdStartScorer, rarity
from fintel.models.coldstart_scoring import cold_start
from fintel.models.evaluation import average_precision
from fintel.models.scorer import BoostedScorer
from fintel.models.unlabelled import PositiveUnlabelledScorer
from fintel.ranking import rank

SMALL = BoostedScorer(rounds=10, min_rows=1, l2=0.0, threads=1)


@parametrize_with_checks([ColdStartScorer(trees=20)])
def test_cold_start_keeps_the_conventions(estimator: Any, check: Any) -> None:
    check(estimator)


@parametrize_with_checks([PositiveUnlabelledScorer(bags=5, scorer=SMALL)])
def test_positive_unlabelled_keeps_the_conventions(estimator: Any, check: Any) -> None:
    check(estimator)


def accounts(number: int = 3_000, odd: int = 30, seed: int = 0) -> tuple[Any, Any]:
    """Columns: four of behaviour, rule bits, peer group. Group 1 lives on another scale; odd accounts stand out
    from their own group only, half of them with a rule's hit; as many hits again are chance."""
    rng = np.random.default_rng(seed)
    group = (np.arange(number) % 10 == 0).astype(float)
    x = rng.normal(size=(number, 4)) + 8.0 * group[:, None]
    truth = np.zeros(number)
    truth[rng.choice(np.flatnonzero(group == 0), odd, replace=False)] = 1.0
    x[truth == 1, :3] += 6.0
    x[rng.random(x.shape) < 0.05] = np.nan
    bits = np.where(truth == 1, rng.random(number) < 0.5, rng.random(number) < 0.005) * 4.0
    return np.column_stack([x, bits, group]), truth


def test_parts_add_up_and_together_find_more_than_alone() -> None:
    x, truth = accounts()
    scorer = ColdStartScorer(rules=(4,), peers=5).fit(x)
    parts = scorer.parts(x)
    np.testing.assert_array_equal(parts.sum(axis=1), scorer.decision_function(x))
    np.testing.assert_array_equal(parts[:, 0], x[:, 4])
    whole = average_precision(truth, scorer.decision_function(x))
    assert whole > average_precision(truth, x[:, 4]) + 0.1
    # The odd ones stand where another group is at home: only beside their own peers are they odd.
    alone = ColdStartScorer(rules=(4,)).fit(x)
    assert average_precision(truth, parts[:, 2]) > 2 * average_precision(truth, alone.parts(x)[:, 2])
    columns, away = scorer.farthest(x[truth == 1])
    assert columns.shape == away.shape == (30, 4)
    assert (np.diff(away, axis=1) <= 0).all()
    assert (columns[:, 0] != 3).mean() > 0.9


def test_one_side_may_be_meant() -> None:
    x, _ = accounts(odd=0)
    high, low = x[:1].copy(), x[:1].copy()
    high[0, :4], low[0, :4] = 30.0, -30.0
    both = ColdStartScorer(rules=(4,), peers=5).fit(x)
    only = ColdStartScorer(rules=(4,), peers=5, signs=(1, 1, 1, 1, 0, 0)).fit(x)
    assert both.parts(low)[0, 2] > 2
    assert only.parts(high)[0, 2] > 2
    assert only.parts(low)[0, 2] == 0


def test_more_evidence_of_rules_never_lowers_and_nothing_known_is_usual() -> None:
    x, _ = accounts()
    scorer = ColdStartScorer(rules=(4,), peers=5).fit(x)
    more = x.copy()
    more[:, 4] += 1.5
    np.testing.assert_allclose(scorer.decision_function(more) - scorer.decision_function(x), 1.5, atol=1e-12)
    strange = np.array([[np.nan] * 6, [1e300] * 4 + [0.0, 99.0], [-1e300] * 4 + [0.0, np.nan]])
    found = scorer.decision_function(strange)
    assert np.isfinite(found).all()
    assert found[0] < np.median(scorer.decision_function(x)) < found[1]


def test_equal_scores_on_one_and_two_threads_and_in_any_company() -> None:
    x, _ = accounts(1_000)
    found = []
    for threads in (1, 2):
        with threadpool_limits(limits=threads):
            found.append(ColdStartScorer(rules=(4,), peers=5, trees=50).fit(x).decision_function(x))
    np.testing.assert_array_equal(*found)
    again = ColdStartScorer(rules=(4,), peers=5, trees=50).fit(x)
    np.testing.assert_array_equal(again.decision_function(x[500:]), found[0][500:])


def test_rarity_is_bits_of_the_share_as_high_and_rises_beyond_the_known() -> None:
    known = np.arange(1023.0)
    assert rarity(known[:1], known)[0] == 0
    assert rarity(known[[512]], known)[0] == pytest.approx(1.0)
    assert rarity(known[-1:], known)[0] == pytest.approx(9.0)
    beyond = rarity(np.array([1022.5, 2000.0, 1e9]), known)
    assert (np.diff([9.0, *beyond]) > 0).all()


def test_parts_join_the_rules_in_the_ranking(tables: Any) -> None:
    at = tables["transactions"].select(pl.col("booked_at").max()).collect().item()
    owners = tables["accounts"].filter(pl.col("holding") == "own").collect()["account_id"].sort()
    found = cold_start(tables, at, base=-9.0, accounts=owners.head(3), top=40, threads=1)
    again = cold_start(tables, at, base=-9.0, accounts=owners.head(3), top=40, threads=2)
    assert found.contributions.equals(again.contributions)
    assert set(owners.head(3)) <= set(found.contributions["account_id"])
    assert 40 <= found.contributions["account_id"].n_unique() <= 43
    assert found.calibration is None
    assert found.probabilities.is_empty()
    best = found.contributions.filter(pl.col("name") == "peers").sort("bits", descending=True)["text"][0]
    assert best.startswith("apart from accounts of its kind: ")
    assert "usual" in best
    # Everybody together stands where everybody starts: rarity is counted from its mean.
    everybody = cold_start(tables, at, base=-9.0, top=10_000, threads=1).contributions
    assert abs(everybody.group_by("account_id").agg(pl.col("bits").sum())["bits"].mean()) < 0.05
    alerts = rank(empty(EPISODES), tables["accounts"].collect(), run_id="r", prior=0.01, learned=found).alerts
    assert alerts["probability"].null_count() == alerts.height >= 40
    few = {**tables, "accounts": tables["accounts"].head(5)}
    assert cold_start(few, at, base=-9.0).contributions.is_empty()


def test_later_payments_change_nothing(tables: Any) -> None:
    last = tables["transactions"].select(pl.col("booked_at").max()).collect().item()
    at = last - timedelta(days=30)
    cut = {**tables, "transactions": tables["transactions"].filter(pl.col("booked_at") <= at)}
    found = [cold_start(t, at, base=0.0, top=50, threads=1).contributions for t in (tables, cut)]
    assert found[0].equals(found[1])


def test_wrong_columns_are_refused() -> None:
    x, _ = accounts(100, 1)
    for wrong, why in (
        ({"rules": (9,)}, "columns 0 to 5"),
        ({"rules": (1,), "peers": 1}, "each once"),
        ({"rules": (0, 1, 2, 3, 4, 5)}, "no column of behaviour"),
        ({"signs": (1,)}, "1 signs for 6"),
        ({"peer_weight": -1.0}, "0 or more"),
    ):
        with pytest.raises(ValueError, match=why):
            ColdStartScorer(**wrong).fit(x)


def hidden(number: int = 4_000, share: float = 0.3, seed: int = 0) -> tuple[Any, Any, Any]:
    """A twentieth positive, of which a share is labelled at random."""
    rng = np.random.default_rng(seed)
    truth = (rng.random(number) < 0.05).astype(float)
    x = rng.normal(size=(number, 5)) + truth[:, None] * np.array([2.0, 1.5, 1.0, 0.0, 0.0])
    return x, truth, truth * (rng.random(number) < share)


def test_hidden_positives_are_found_and_their_share_estimated() -> None:
    x, truth, label = hidden()
    scorer = PositiveUnlabelledScorer(scorer=BoostedScorer(rounds=40, threads=1)).fit(x, label)
    unknown = label == 0
    reached = average_precision(truth[unknown], scorer.training_margin_[unknown])
    assert reached > 8 * truth[unknown].mean()
    assert np.isfinite(scorer.training_margin_).all()
    p = scorer.predict_proba(x)
    assert (p.sum(axis=1) == 1).all()
    np.testing.assert_array_equal(scorer.predict(x) == 1, p[:, 1] > 0.5)
    few = PositiveUnlabelledScorer().fit(x, np.where(np.cumsum(label) <= 2, label, 0.0))
    assert np.isfinite(few.decision_function(x)).all()


def test_same_seed_same_margins_whatever_the_threads() -> None:
    x, _, label = hidden(1_500)
    found = [
        PositiveUnlabelledScorer(bags=4, scorer=BoostedScorer(rounds=10, threads=threads))
        .fit(x, label)
        .training_margin_
        for threads in (1, 2)
    ]
    np.testing.assert_array_equal(*found)
    other = PositiveUnlabelledScorer(bags=4, scorer=BoostedScorer(rounds=10, threads=1), seed=8).fit(x, label)
    assert not np.array_equal(other.training_margin_, found[0])
