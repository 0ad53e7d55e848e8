"""Measures of a model on hand-made populations whose answers are known, and on hostile ones."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fintel.domain.schema import ACCOUNTS, PARTIES
from fintel.errors import ModelError
from fintel.frames import TIMESTAMP, fit
from fintel.models.below_line import below_the_line, clopper_pearson
from fintel.models.drift import chance_of, feature_drift, population_stability, shares_then, tie_bins
from fintel.models.evaluation import average_precision
from fintel.models.first_hits import first_hits, summarise
from fintel.models.places import chance_read, typology_recalls
from fintel.models.queues import Queue, read_queues
from fintel.models.reliability import reliability
from fintel.models.subgroups import attributes, subgroups

MAY, JUNE = datetime(2025, 5, 31, tzinfo=UTC), datetime(2025, 6, 30, tzinfo=UTC)


def judged(*months: list[tuple[int, float, float]]) -> pl.DataFrame:
    """Rows of (label, score, money) by month; every account is its own group."""
    rows = [
        (f"a{i}", month, label, score, money, i)
        for month, part in zip((MAY, JUNE), months, strict=False)
        for i, (label, score, money) in enumerate(part)
    ]
    names = ("account_id", "month", "label", "score", "money", "group")
    return pl.DataFrame(rows, schema=names, orient="row").with_columns(pl.col("month").cast(TIMESTAMP))


def read(rows: pl.DataFrame, *capacities: int, step: int = 1) -> Queue:
    return read_queues(rows, {"s": "score"}, capacities=capacities, step=step)[0]["s"]


# -- queues a month


def test_precision_recall_and_money_add_up_over_months() -> None:
    may = [(1, 9.0, 70.0), (0, 8.0, 0.0), (1, 7.0, 10.0), (0, 6.0, 0.0)]
    june = [(0, 9.0, 0.0), (0, 8.0, 0.0), (1, 7.0, 20.0), (0, 6.0, 0.0)]
    queue = read(judged(may, june), 1, 3)
    one, three = queue.capacities
    assert (one.precision.value, one.recall.value) == (1 / 2, 1 / 3)
    assert one.money is not None and one.money.value == pytest.approx(0.7)
    assert (three.precision.value, three.recall.value) == (1 / 2, 1.0)
    # the next analyst reads the second account of each month and finds nobody, then the third and finds both
    assert [(s.first, s.last, s.found, s.precision.value) for s in queue.steps] == [
        (2, 2, 0.0, 0.0), (3, 3, 1.0, 1.0), (4, 4, 0.0, 0.0),
    ]  # fmt: skip
    # two positives at 1 and 2/3, one at 1/3: weighted by positives
    assert queue.average_precision.value == pytest.approx((2 * (1 + 2 / 3) / 2 + 1 / 3) / 3)
    assert [m.recall for m in queue.months] == [1 / 2, 0.0]


def test_ties_are_worth_their_mean_and_no_order_of_rows_matters() -> None:
    tied = judged([(1, 1.0, 5.0), (0, 1.0, 0.0), (0, 1.0, 0.0), (0, 1.0, 0.0)])
    assert read(tied, 1).capacities[0].precision.value == pytest.approx(1 / 4)
    assert chance_read(tied, "score", 1).to_list() == [0.25] * 4
    assert read(tied.reverse(), 1) == read(tied, 1)


@settings(max_examples=10, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(0, 4)), min_size=4, max_size=30), st.integers(1, 40), st.randoms()
)
def test_places_add_up_and_permuting_changes_nothing(pairs, capacity, random) -> None:  # noqa: ANN001
    pairs = [*pairs, (1, 2), (0, 3)]
    rows = judged([(label, float(score), 1.0) for label, score in pairs])
    assert chance_read(rows, "score", capacity).sum() == pytest.approx(min(capacity, rows.height))
    places = list(range(rows.height))
    random.shuffle(places)
    before, after = read(rows, capacity), read(rows[places], capacity)
    assert after.capacities[0].precision.value == pytest.approx(before.capacities[0].precision.value)
    assert after.average_precision.value == pytest.approx(before.average_precision.value)
    # recall by places and by the curve is one number
    positive = chance_read(rows, "score", capacity).filter(rows["label"] == 1).sum() / rows["label"].sum()
    assert positive == pytest.approx(before.capacities[0].recall.value)


def test_a_perfect_ranking_reaches_one_and_a_gain_over_itself_is_nothing() -> None:
    rows = judged([(1, 9.0, 1.0), (1, 8.0, 1.0), *[(0, float(-i), 0.0) for i in range(8)]])
    queues, gains = read_queues(rows, {"a": "score", "b": "score"}, capacities=[2], step=1, against=[("a", "b")])
    at = queues["a"].capacities[0]
    assert queues["a"].average_precision.value == at.precision.value == at.recall.value == 1.0
    gain = gains["a", "b"].average_precision
    assert (gain.value, gain.low, gain.high) == (0.0, 0.0, 0.0)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(20):
        label = (rng.random(300) < 0.2).astype(int)
        score = rng.normal(size=300) + label
        at = read(judged([(int(y), float(s), 0.0) for y, s in zip(label, score, strict=True)]), 60).capacities[0]
        held += at.precision.low <= 0.4597 <= at.precision.high  # mean of thirty draws of a million such rows
    assert held >= 16


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([(0, 1.0, 0.0), (0, 2.0, 0.0)], "no suspicious account"),
        ([(1, 1.0, 0.0), (1, 2.0, 0.0)], "every account is labelled"),
        ([(1, math.nan, 0.0), (0, 2.0, 0.0)], "no number"),
        ([], "no accounts"),
    ],
)
def test_what_no_ranking_can_be_judged_by_is_refused(rows, said) -> None:  # noqa: ANN001
    schema = judged([(1, 1.0, 0.0)]).schema
    with pytest.raises(ModelError, match=said):
        read(judged(rows) if rows else pl.DataFrame(schema=schema), 1)
    if said == "no number":
        with pytest.raises(ModelError, match="no number"):
            average_precision(np.array([1.0, 0.0]), np.array([math.nan, 1.0]))


def test_recall_by_typology_counts_an_account_once_and_under_each_of_its_typologies() -> None:
    rows = judged([(1, 9.0, 0.0), (1, 1.0, 0.0), (0, 8.0, 0.0)], [(1, 9.0, 0.0), (1, 9.5, 0.0), (0, 8.0, 0.0)])
    named = pl.DataFrame({"account_id": ["a0", "a0", "a1"], "typology": ["OSEC", "ML-GENERAL", "OSEC"]})
    found = {t.typology: t for t in typology_recalls(rows, "score", 1, named)}
    # a0 leads May, a1 leads June: both are found once
    assert (found["OSEC"].accounts, found["OSEC"].found, found["OSEC"].recall) == (2, 2.0, 1.0)
    assert found["ML-GENERAL"].accounts == 1 and found["ML-GENERAL"].low > 0.2
    nameless = typology_recalls(rows, "score", 1, named.clear())
    assert [t.typology for t in nameless] == ["not named"]


# -- first hits


def test_first_hits_count_from_the_first_illicit_payment_to_the_first_alert_after_it() -> None:
    day = timedelta(days=1)
    paid = [("a", 0, 100), ("a", 10, 50), ("a", 20, 25), ("b", 5, 40), ("c", 3, None)]
    activity = pl.DataFrame(
        {
            "account_id": [p[0] for p in paid],
            "at": [MAY + day * p[1] for p in paid],
            "amount": [None if p[2] is None else Decimal(p[2]) for p in paid],
        }
    )
    # too early, the first that counts, a re-catch; c at the very moment; x is a false alarm
    alerts = [("a", -3), ("a", 12), ("a", 15), ("c", 3), ("x", 9)]
    told = pl.DataFrame({"account_id": [a for a, _ in alerts], "at": [MAY + day * d for _, d in alerts]})
    hits = first_hits(activity, told)
    assert hits.select("account_id", "days", "money_before", "money").rows() == [
        ("a", 12.0, 150.0, 175.0), ("b", None, 40.0, 40.0), ("c", 0.0, 0.0, 0.0),
    ]  # fmt: skip
    summary = summarise(hits)
    assert (summary.subjects, summary.found, summary.days_median) == (3, 2, 6.0)
    assert (summary.money, summary.money_before, summary.money_missed) == (215.0, 150.0, 40.0)
    assert summary.stopped == pytest.approx(25 / 215)
    assert summary.within == pytest.approx({"7 days": 1 / 3, "30 days": 2 / 3, "90 days": 2 / 3})
    # finding a again, and again, changes nothing; nor does any order
    more = pl.concat([told, told.with_columns(pl.col("at") + 30 * day)]).reverse()
    assert first_hits(activity.reverse(), more).equals(hits)
    nothing = summarise(first_hits(activity.clear(), told))
    assert nothing.found == 0 and nothing.stopped is None
    with pytest.raises(ModelError, match="negative"):
        first_hits(activity.with_columns(amount=pl.lit(Decimal(-1))), told)


# -- calibration


def test_reliability_of_right_and_wrong_probabilities() -> None:
    probability = np.repeat([0.1, 0.5], [100, 100])
    label = np.concatenate([np.repeat([1.0, 0.0], [10, 90]), np.repeat([1.0, 0.0], [50, 50])])
    right = reliability(label, probability)
    assert right.error == pytest.approx(0) and right.top_error == pytest.approx(0) and right.skill > 0
    assert [(b.rows, b.share) for b in right.bins] == [(100, 0.1), (100, 0.5)]
    wrong = reliability(label, probability + 0.2)
    assert wrong.error == pytest.approx(0.2)
    order = np.random.default_rng(1).permutation(label.size)
    assert reliability(label[order], probability[order]) == right


@pytest.mark.parametrize(
    ("label", "probability"),
    [([0, 0], [0.1, 0.2]), ([1, 1], [0.1, 0.2]), ([0, 1], [math.nan, 0.2]), ([0, 1], [0.1, 1.2]), ([], [])],
)
def test_probabilities_that_are_none_are_refused(label, probability) -> None:  # noqa: ANN001
    with pytest.raises(ModelError):
        reliability(np.array(label, float), np.array(probability, float))


# -- subgroups


def test_subgroups_tell_rates_marks_and_hide_the_few() -> None:
    groups = ["X"] * 100 + ["Y"] * 200 + ["Z"] * 19
    rows = pl.DataFrame({"account_id": [f"a{i}" for i in range(319)], "country": groups, "label": [0] * 319})
    rows = rows.with_columns(label=pl.when(pl.int_range(pl.len()).is_in([0, 1, 100])).then(1).otherwise(0))
    # of X 30 are alerted (with both of its suspicious ones), of Y 5 (not its suspicious one)
    alerted = pl.Series([1.0] * 30 + [0.0] * 70 + [0.0] + [1.0] * 5 + [0.0] * 194 + [0.0] * 19)
    told, hidden = subgroups(rows, alerted, ["country"])
    assert [g.group for g in told] == ["Y", "X"] and "Z" not in str(told)
    y, x = told
    assert x.alert_rate.value == 0.3 and x.alert_ratio is not None
    assert x.alert_ratio.value == pytest.approx(0.3 / (5 / 219)) and x.mark == "clear"
    assert x.precision is not None and x.precision.value == pytest.approx(2 / 30)
    assert x.false_alerts is not None and x.false_alerts.value == pytest.approx(28 / 98)
    assert x.recall is not None and x.recall.value == 1.0 and y.recall is not None and y.recall.value == 0.0
    assert [(s.groups, s.accounts) for s in hidden] == [(1, None)]
    same, _ = subgroups(rows, pl.Series([0.1] * 319), ["country"])
    assert all(g.mark == "" for g in same)


def test_age_bands_are_of_the_month_and_what_nobody_knows_is_told() -> None:
    made = {"source": "t", "feed_id": "f", "source_file": "f", "source_row": 1}
    fixed = [pl.lit(v).alias(k) for k, v in made.items()]
    accounts = pl.DataFrame({"account_id": ["a", "b"], "party_id": ["p", None], "country": [None, "DE"]})
    born = pl.date(2000, 6, 15)
    parties = pl.DataFrame({"party_id": ["p"], "country": ["US"], "kind": ["person"]}).with_columns(birth_date=born)
    tables = {
        "accounts": fit(accounts.with_columns(fixed), ACCOUNTS).lazy(),
        "parties": fit(parties.with_columns(fixed), PARTIES).lazy(),
    }
    rows = pl.DataFrame({"account_id": ["a", "a", "b", "c"], "month": [MAY, JUNE, MAY, MAY]})
    assert attributes(tables, rows.with_columns(pl.col("month").cast(TIMESTAMP))).rows() == [
        ("18-24", "US", "person"), ("25-34", "US", "person"), ("not known", "DE", "not known"),
        ("not known", "not known", "not known"),
    ]  # fmt: skip


# -- below the line


def test_below_the_line_bands_bounds_and_refusals() -> None:
    population = np.array([5.0, 4.0, 3.5, 3.1, 2.5, 2.2, 1.0, -9.0])
    reviewed = pl.DataFrame({"score": [3.5, 3.1, 2.5, -9.0], "suspicious": [True, False, False, None]})
    bands = below_the_line(population, reviewed, 4.0)
    assert [(b.accounts, b.reviewed, b.suspicious) for b in bands] == [(2, 2, 1), (2, 1, 0), (1, 0, 0), (1, 0, 0)]
    assert bands[0].expected == 1.0 and bands[2].precision is None and bands[2].expected_high == 1.0
    # 0 of 30: the upper bound is 1 - 0.025^(1/30), not 0
    assert clopper_pearson(0, 30) == pytest.approx((0.0, 1 - 0.025 ** (1 / 30)))
    assert clopper_pearson(3, 3) == pytest.approx((0.025 ** (1 / 3), 1.0))
    with pytest.raises(ModelError, match="numbers"):
        below_the_line(population, reviewed, math.nan)
    with pytest.raises(ModelError, match="ascend"):
        below_the_line(population, reviewed, 4.0, distances=(0, 2, 1))
    with pytest.raises(ModelError, match="another time"):
        below_the_line(population[:3], pl.DataFrame({"score": [3.0] * 5, "suspicious": [True] * 5}), 4.0)


# -- drift


def quantiles(values: np.ndarray) -> list[float]:
    return list(np.quantile(values[~np.isnan(values)], np.linspace(0, 1, 101), method="lower"))


def test_psi_by_hand_and_of_tied_bins() -> None:
    assert population_stability(np.array([0.5, 0.5]), np.array([0.75, 0.25])) == pytest.approx(0.25 * math.log(3))
    assert population_stability(np.array([0.2, 0.8]), np.array([0.2, 0.8])) == 0.0
    # 70 zeros of 100: the deciles up to the seventh fall on one value and are one bin
    then = np.array(quantiles(np.concatenate([np.zeros(70), np.arange(1, 31)])))
    edges = tie_bins(then)
    assert edges[0] == 0.0 and edges.size == 3
    assert shares_then(then, edges)[0] == pytest.approx(0.7, abs=0.011)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(["normal", "counts", "rare", "flag"]))
def test_the_same_distribution_does_not_alarm_and_a_shifted_one_does(seed: int, shape: str) -> None:
    rng = np.random.default_rng(seed)
    draw = {
        "normal": lambda n: rng.normal(size=n),
        "counts": lambda n: rng.poisson(1.2, n).astype(float),
        "rare": lambda n: (rng.random(n) < 0.02) * rng.exponential(5.0, n),
        "flag": lambda n: (rng.random(n) < 0.3).astype(float),
    }[shape]
    then, now = draw(3000), draw(2000)
    same = feature_drift("f", "volume", quantiles(then), 1.0, now, 3000)
    assert same.verdict == "steady" and same.psi is not None and same.psi < 0.05
    moved = feature_drift("f", "volume", quantiles(then), 1.0, now + 2.0, 3000)
    assert moved.verdict == "act"
    assert feature_drift("f", "volume", quantiles(then), 1.0, rng.permutation(now), 3000) == same


def test_small_samples_are_given_what_chance_gives() -> None:
    rng = np.random.default_rng(3)
    then = rng.normal(size=5000)
    loud = [feature_drift("f", "volume", quantiles(then), 1.0, rng.normal(size=25), 5000) for _ in range(60)]
    assert sum((d.psi or 0) > 0.25 for d in loud) > 20  # the rule of thumb alone would cry wolf
    assert sum(d.verdict != "steady" for d in loud) <= 9
    assert chance_of(10, 5000, 25) == pytest.approx((1 / 5000 + 1 / 25) * 16.919, rel=1e-4)


def test_values_that_vanish_are_drift_too() -> None:
    values = np.where(np.arange(1000) % 10 < 4, np.nan, 1.0)
    lost = feature_drift("f", "volume", [1.0] * 101, 1.0, values, 1000)
    assert (lost.known_now, lost.psi, lost.verdict) == (0.6, 0.0, "act")
    gone = feature_drift("f", "volume", [1.0] * 101, 0.9, np.full(50, np.nan), 1000)
    assert gone.psi is None and gone.verdict == "act"
