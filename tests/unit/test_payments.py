"""The scorer of payments: what its columns see, how time is split, how payments become accounts."""

from __future__ import annotations

import math
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from models_cases import START, population

from fintel.errors import ModelError
from fintel.graph.network import Network, network
from fintel.models.payment_columns import DEFAULT, FAMILIES, Recipe, frequent_currencies, payment_columns
from fintel.models.payment_pooling import pool, yields
from fintel.models.payments import (
    best_threshold,
    f1_score,
    payment_labels,
    split_by_time,
    train_payments,
)
from fintel.models.scorer import BoostedScorer

DAY = 86_400 * 10**6
EVERYTHING = Recipe(tuple(FAMILIES), ("USD",))


@pytest.fixture(scope="module")
def payments():
    return population(accounts=300, days=240, schemes=50)


@pytest.fixture(scope="module")
def net(payments):
    return network(payments)


@pytest.fixture(scope="module")
def x(payments, net):
    return payment_columns(payments, net, EVERYTHING)


def small(source, target, time, nodes=6):
    size = len(source)
    return Network(
        np.array(source, np.int32), np.array(target, np.int32), np.array(time, np.int64), np.full(size, 10**7),
        np.arange(size, dtype=np.uint32), pl.Series("node", [f"n{i}" for i in range(nodes)]),
    )  # fmt: skip


def test_later_payments_change_no_column_of_an_earlier_one(payments, net, x):
    moment = START + timedelta(days=150)
    before = {**payments, "transactions": payments["transactions"].filter(pl.col("booked_at") < moment)}
    alone = payment_columns(before, network(before), EVERYTHING)
    assert 0 < len(alone) < len(x)
    np.testing.assert_array_equal(alone, x[: len(alone)])
    assert np.isfinite(x).any(axis=0).sum() > 150


def test_columns_do_not_depend_on_the_order_of_rows_or_the_names_of_accounts(payments, net, x):
    renamed = [("a0", "z9"), ("a1", "q")]

    def other(name):
        told = pl.col(name)
        for old, new in renamed:
            told = told.str.replace(f"^{old}", new)
        return told

    shuffled = payments["transactions"].collect().sample(fraction=1.0, shuffle=True, seed=3)
    shuffled = shuffled.with_columns(other("debtor_account_id"), other("creditor_account_id"))
    tables = {**payments, "transactions": shuffled.lazy()}
    np.testing.assert_array_equal(payment_columns(tables, network(tables), EVERYTHING), x)


def test_own_columns_have_their_known_answers():
    rows = [  # payer, payee, hour, amount, currency, bank
        ("a", "b", 0, 100.0, "USD", "X"),
        ("a", "c", 2, 400.0, "EUR", "X"),
        ("c", "c", 3, 50.0, "USD", "X"),
        ("a", "b", 5, 100.5, "USD", "Y"),
        ("c", "b", 6, 7.0, "USD", "Y"),
    ]  # fmt: skip
    frame = population(accounts=3, days=30, schemes=0)["transactions"].collect().head(len(rows))
    frame = frame.with_columns(
        transaction_id=pl.Series([f"t{i}" for i in range(5)]),
        booked_at=pl.Series([START + timedelta(hours=r[2]) for r in rows]).cast(frame.schema["booked_at"]),
        debtor_account_id=pl.Series([r[0] for r in rows]), creditor_account_id=pl.Series([r[1] for r in rows]),
        amount=pl.Series([r[3] for r in rows]).cast(frame.schema["amount"]),
        amount_base=pl.Series([r[3] for r in rows]).cast(frame.schema["amount"]),
        currency=pl.Series([r[4] for r in rows]),
        debtor_agent=pl.lit("X"), creditor_agent=pl.Series([r[5] for r in rows]),
        instrument=pl.Series(["card", None, "card", "card", "cash"]),
    )  # fmt: skip
    tables = {"transactions": frame.lazy()}
    recipe = Recipe(("amount", "novelty", "places", "currency", "rail", "clock"), ("EUR", "USD"))
    found = dict(zip(recipe.names, payment_columns(tables, network(tables), recipe).T, strict=True))
    nan = float("nan")
    expected = {
        "amount_zeros": [3, 3, 2, 0, 1],
        "amount_over_paid": [nan, math.log2(401 / 101), nan, math.log2(101.5) - np.log2([101, 401]).mean(), math.log2(8 / 51)],
        "payer_idle": [nan, 7200, 3600, 3 * 3600, 3 * 3600],
        "payee_idle": [nan, nan, 3600, 5 * 3600, 3600],
        "currency_gap": [nan, nan, nan, 5 * 3600, 3 * 3600],
        "bank_gap": [nan, 7200, nan, nan, nan],
        "instrument_gap": [nan, nan, nan, 5 * 3600, nan],
        "within_bank": [1, 1, 1, 0, 0],
        "currency_eur": [0, 1, 0, 0, 0],
        "instrument_card": [1, nan, 1, 1, 0],
        "cross_border": [nan] * 5,
        "weekday": [6] * 5,
    }  # fmt: skip
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], np.array(values, np.float32), rtol=1e-6, err_msg=name)
    assert found["hour_cos"][0] == 1.0


def test_the_clock_is_there_only_if_asked_and_a_wrong_family_is_named(payments):
    assert not {"hour_sin", "weekday"} & set(Recipe().names)
    assert set(DEFAULT) == set(FAMILIES) - {"clock"}
    with pytest.raises(ModelError, match="novelti") as refused:
        Recipe(("novelti",))
    assert refused.value.hint == "did you mean 'novelty'?"
    assert frequent_currencies(payments, START + timedelta(days=99)) == ("USD",)


def test_labels_are_what_was_known_then(payments, net):
    label = payment_labels(payments, net)
    assert label.sum() == 50 * 7
    early = payment_labels(payments, net, START + timedelta(days=120))
    assert 0 < np.nansum(early) < label.sum()
    known = net.time[early == 1]
    # Everything known by then lay at least as long before as it takes to be known.
    assert (known < (START + timedelta(days=90)).timestamp() * 1e6).all()


def test_labels_of_accounts_alone_speak_for_their_payments_or_leave_them_open(payments, net):
    accounts = payments["labels"].filter(pl.col("subject_type") == "account")
    named = accounts.select("subject_id").collect()["subject_id"]
    touched = pl.DataFrame({"s": net.nodes.gather(net.source), "t": net.nodes.gather(net.target)}).select(
        pl.col("s").is_in(named.implode()) | pl.col("t").is_in(named.implode())
    ).to_series().to_numpy()  # fmt: skip
    np.testing.assert_array_equal(payment_labels({**payments, "labels": accounts}, net) == 1, touched)
    one = payments["labels"].filter((pl.col("subject_type") == "account") | (pl.col("scheme_id") == "S0"))
    label = payment_labels({**payments, "labels": one}, net)
    assert (label == 1).sum() == 7
    assert np.isnan(label).sum() > 100


def test_an_embargo_keeps_parts_apart_and_too_long_a_one_is_refused(net):
    gap = timedelta(days=10)
    split = split_by_time(net, embargo=gap)
    ends = [net.time[part.stop - 1] for part in (split.train, split.validation)]
    begins = [net.time[part.start] for part in (split.validation, split.test)]
    assert all(b - e > 10 * DAY for b, e in zip(begins, ends, strict=True))
    none = split_by_time(net, embargo=timedelta())
    assert (none.train.stop, none.validation.stop, none.test.stop) == (
        none.validation.start, none.test.start, len(net),
    )  # fmt: skip
    with pytest.raises(ModelError, match="empty"):
        split_by_time(net, embargo=timedelta(days=99))


@given(st.lists(st.integers(0, 5), min_size=8, max_size=40), st.integers(0, 2))
def test_payments_of_one_moment_are_never_on_both_sides(times, embargo):
    time = np.sort(times)
    data = small([0] * len(time), [1] * len(time), time)
    try:
        split = split_by_time(data, embargo=timedelta(microseconds=embargo))
    except ModelError:
        return
    parts = [set(time[p]) for p in (split.train, split.validation, split.test)]
    assert not (parts[0] & parts[1] or parts[1] & parts[2])
    assert max(parts[0]) + embargo < min(parts[1]) + 1 and max(parts[1]) + embargo < min(parts[2]) + 1


def test_a_model_ranks_and_its_contributions_add_up_and_it_is_the_same_twice(payments, net, x):
    label = payment_labels(payments, net)
    split = split_by_time(net, embargo=timedelta(days=10))
    names = EVERYTHING.names
    made = [
        train_payments(x, label, split, names, BoostedScorer(rounds=50, min_rows=20, threads=threads))
        for threads in (1, 2)
    ]
    assert made[0].trees == made[1].trees
    model = made[0]
    test = x[split.test]
    margin = model.scorer.decision_function(test)
    parts = model.scorer.contributions(test[:50])
    np.testing.assert_allclose(parts.sum(axis=1), margin[:50], atol=1e-9)
    assert model.validated > 10 * label[split.validation].mean()
    assert f1_score(label[split.test], margin >= model.threshold) > 0.3
    # Labels of the test part are not looked at.
    blind = label.copy()
    blind[split.test] = 0
    again = train_payments(x, blind, split, names, BoostedScorer(rounds=50, min_rows=20, threads=1))
    assert (again.trees, again.threshold) == (model.trees, model.threshold)


def test_shuffled_labels_teach_nothing(payments, net, x):
    label = np.random.default_rng(5).permutation(payment_labels(payments, net))
    split = split_by_time(net, embargo=timedelta(days=10))
    model = train_payments(x, label, split, EVERYTHING.names, BoostedScorer(rounds=25, min_rows=20, threads=1))
    margin = model.scorer.decision_function(x[split.test])
    from fintel.models.evaluation import average_precision

    assert average_precision(label[split.test], margin) < 2 * label[split.test].mean()


def test_too_few_labels_are_refused(payments, net, x):
    label = np.zeros(len(net))
    label[:3] = 1
    with pytest.raises(ModelError, match="3 labelled payments in the training part"):
        train_payments(x, label, split_by_time(net, embargo=timedelta()), EVERYTHING.names, BoostedScorer())


def test_what_is_not_known_is_not_learned_from(payments, net, x):
    label = payment_labels(payments, net)
    split = split_by_time(net, embargo=timedelta(days=10))
    known = payment_labels(payments, net, START + timedelta(microseconds=split.ends[0] - int(START.timestamp() * 1e6)))
    scorer = BoostedScorer(rounds=25, min_rows=20, threads=1)
    full = train_payments(x, label, split, EVERYTHING.names, scorer)
    some = train_payments(x, label, split, EVERYTHING.names, scorer, known=known)
    changed = label.copy()
    late = np.flatnonzero((label == 1) & (known == 0))
    late = late[late < split.train.stop]
    assert late.size
    changed[late] = 0
    assert train_payments(x, changed, split, EVERYTHING.names, scorer).trees == some.trees != full.trees


@given(st.lists(st.tuples(st.booleans(), st.integers(-4, 4)), min_size=2, max_size=30))
def test_the_threshold_is_the_best_there_is(rows):
    label = np.array([float(y) for y, _ in rows])
    margin = np.array([float(m) for _, m in rows])
    at = best_threshold(label, margin)
    assert f1_score(label, margin >= at) == max(f1_score(label, margin >= m) for m in margin)


def test_pooling_has_its_known_answers():
    data = small([0, 0, 0, 1, 2, 0], [1, 2, 1, 1, 3, 1], [0, 1, 2, 3, 4, 10 * DAY])
    margin = np.log(np.array([1.0, 3.0, 1 / 3, 4.0, 9.0, 2.0]))
    whole = slice(0, 6)

    def of(how):
        made = pool(data, margin, whole, how=how, period=timedelta(days=10), begin=0)
        return {(r["account_id"], r["period"].day): r for r in made.iter_rows(named=True)}

    odds = {how: {k: math.exp(r["margin"]) for k, r in of(how).items()} for how in ("max", "top_3", "noisy_or")}
    n0, n1, n2 = ("n0", 1), ("n1", 1), ("n2", 1)
    assert odds["max"] == pytest.approx({n0: 3, n1: 4, n2: 9, ("n3", 1): 9, ("n0", 11): 2, ("n1", 11): 2})
    assert odds["top_3"][n0] == pytest.approx(1) and odds["top_3"][n2] == pytest.approx(math.sqrt(27))
    # Probabilities 1/2, 3/4, 1/4: none of them with 3/32.
    assert odds["noisy_or"][n0] == pytest.approx(29 / 3)
    assert of("max")[n0]["best"] == 1 and of("max")[n1]["payments"] == 3
    assert [r["payments"] for r in of("max").values()] == [3, 3, 2, 1, 1, 1]
    with pytest.raises(ModelError, match="noisyor"):
        pool(data, margin, whole, how="noisyor", period=timedelta(days=1), begin=0)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.floats(-700, 700)), min_size=1, max_size=30))
def test_pools_stand_in_their_order(rows):
    source, target, margin = (list(part) for part in zip(*rows, strict=True))
    data = small(source, target, range(len(rows)))
    made = {
        how: pool(data, np.array(margin), slice(0, len(rows)), how=how, period=timedelta(1), begin=0)["margin"].to_numpy()
        for how in ("max", "top_3", "noisy_or")
    }  # fmt: skip
    assert np.isfinite(made["noisy_or"]).all()
    assert (made["top_3"] <= made["max"] + 1e-9).all() and (made["max"] <= made["noisy_or"] + 1e-9).all()


def test_both_queues_are_told_at_one_budget():
    data = small([0, 0, 2, 4], [1, 1, 3, 5], [0, 1, 2, 3])
    margin, label = np.array([3.0, 2.0, 1.0, 0.0]), np.array([1.0, 1.0, 0.0, 1.0])
    pooled = pool(data, margin, slice(0, 4), how="max", period=timedelta(1), begin=0)
    paid, ranked, alike = yields(data, margin, label, slice(0, 4), pooled, pl.Series(["n1", "n5", "gone"]), 2)
    assert (paid.hits, paid.accounts, paid.caught, paid.of) == (2, 2, 1, 2)
    assert (ranked.hits, ranked.accounts, ranked.caught) == (1, 2, 1)
    assert alike == 1.0
