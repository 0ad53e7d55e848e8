"""The learned scorer: honest plans, exact reasons, equal bytes."""

from __future__ import annotations

import math
import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from models_cases import START, Tables, population
from sklearn.metrics import average_precision_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from fintel.config import RankingSettings, Settings
from fintel.domain.schema import LABELS
from fintel.errors import MissingExtraError, ModelError
from fintel.frames import empty
from fintel.models import tracking
from fintel.models.account_rows import account_rows
from fintel.models.dataset import Sampling, build, choose_plan
from fintel.models.evaluation import average_precision, evaluate
from fintel.models.explain import bits, describe, ordinal
from fintel.models.fusion import fuse
from fintel.models.labels import groups, label_rows, read_truth
from fintel.models.saved import FeatureCard, save
from fintel.models.scorer import BoostedScorer
from fintel.models.training import Trained, margins, score, train

SETTINGS = Settings(threads=1, seed=3, ranking=RankingSettings(budget=20))
END = START + timedelta(days=360)


@pytest.fixture(scope="module")
def tables() -> Tables:
    return population()


@pytest.fixture(scope="module")
def trained(tables: Tables) -> Trained:
    return train(tables, settings=SETTINGS)


@pytest.fixture(scope="module")
def last(tables: Tables):  # noqa: ANN201
    return tables["transactions"].select(pl.col("booked_at").max()).collect().item()


# -- scikit-learn's conventions


@parametrize_with_checks(
    [BoostedScorer(rounds=20, threads=1, min_rows=1, l2=0.0)],
    expected_failed_checks=lambda _: {
        "check_sample_weight_equivalence_on_dense_data": "a leaf's least number of rows counts rows, not weights"
    },
)
def test_scorer_keeps_the_conventions(estimator: BoostedScorer, check) -> None:  # noqa: ANN001
    check(estimator)


def test_scorer_refuses_the_ratio_of_classes_as_weight() -> None:
    with pytest.raises(ValueError, match="1 to 10"):
        BoostedScorer(positive_weight=200.0).fit(np.eye(4), [0, 1, 0, 1])


# -- labels and plans


def test_label_of_an_account_needs_activity_in_the_days_before(tables: Tables) -> None:
    truth = read_truth(tables)
    account, at = truth.activity.row(0)
    after, before = at + timedelta(days=1), at - timedelta(days=300)
    clean = next(a for a in (f"a{i:04d}" for i in range(500)) if a not in truth.accounts["account_id"])
    rows = pl.DataFrame({"account_id": [account, account, account, clean], "as_of": [after, at, before, after]})
    # At its very instant nothing has been seen yet; before the scheme the account is neither.
    assert label_rows(rows, truth, 90).to_list() == [1.0, None, None, 0.0]


def test_labels_known_later_are_not_known(tables: Tables) -> None:
    truth = read_truth(tables, START + timedelta(days=100))
    everything = read_truth(tables)
    assert 0 < truth.accounts.height < everything.accounts.height == 60
    assert (truth.accounts["known_at"] <= START + timedelta(days=100)).all()


def test_labels_of_payments_alone_name_both_sides(tables: Tables) -> None:
    payments = tables["labels"].filter(pl.col("subject_type") == "transaction")
    assert read_truth({**tables, "labels": payments}).accounts.height > 200
    together = groups(tables)
    assert together["group"].n_unique() <= 60


def test_label_of_a_holder_names_the_accounts_unless_one_is_named() -> None:
    made = population(schemes=2)
    accounts = made["accounts"].with_columns(party_id=pl.col("account_id").str.slice(0, 4))
    label = made["labels"].filter(pl.col("subject_type") == "account").head(1)
    party = label.with_columns(subject_type=pl.lit("party"), subject_id=pl.lit("a001"))
    found = read_truth({**made, "accounts": accounts, "labels": party}).accounts["account_id"].to_list()
    assert found == [f"a001{i}" for i in range(10)]
    one = label.with_columns(subject_id=pl.lit("a0013"))
    both = {**made, "accounts": accounts, "labels": pl.concat([party, one])}
    assert read_truth(both).accounts["account_id"].to_list() == ["a0013"]


def test_time_plan_keeps_payments_and_groups_apart(tables: Tables, last) -> None:  # noqa: ANN001
    examples = build(tables, last, Sampling(), seed=3, threads=1)
    plan = examples.plan
    assert plan.kind == "time"
    assert max(plan.fit_at) + timedelta(days=plan.gap_days) <= min(plan.test_at)
    assert plan.gap_days >= plan.before_days
    folds = examples.rows.group_by("group").agg(pl.col("fold").n_unique())
    assert (folds["fold"] == 1).all()
    assert not plan.notes
    joined = examples.rows.join(groups(tables), on="account_id", suffix="_known")
    assert (joined["group"] == joined["group_known"]).all()
    history = (plan.fit_at[0] - START) / timedelta(days=1)
    assert history < 365
    assert not [n for n in examples.names if n.endswith("_365d")]  # would tell the date


def test_ties_that_join_everything_are_left_out_and_said(tables: Tables, last) -> None:  # noqa: ANN001
    one = {**tables, "labels": tables["labels"].with_columns(scheme_id=pl.lit("S"))}
    assert groups(one)["group"].n_unique() == 1
    examples = build(one, last, Sampling(), seed=3, threads=1)
    assert "payment and scheme" in examples.plan.notes[0]
    assert examples.rows.filter(pl.col("label") == 1)["fold"].n_unique() == 5


def test_short_feed_falls_back_and_says_so(tables: Tables) -> None:
    truth = read_truth(tables)
    plan = choose_plan(START, START + timedelta(days=60), truth, truth, Sampling())
    assert plan.kind == "grouped"
    assert "60 days are too few" in plan.notes[0]
    with pytest.raises(ModelError, match="not possible"):
        choose_plan(START, START + timedelta(days=60), truth, truth, Sampling(plan="time"))


def test_too_few_labels_are_refused_with_the_reason(tables: Tables) -> None:
    with pytest.raises(ModelError, match="0 labelled accounts known by"):
        train({**tables, "labels": empty(LABELS).lazy()}, settings=SETTINGS)
    with pytest.raises(ModelError, match="labelled accounts known by 2023-02-10") as caught:
        train(tables, settings=SETTINGS, as_of=START + timedelta(days=40))
    assert "become known later" in str(caught.value.hint)
    with pytest.raises(ModelError, match="no payments"):
        train({**tables, "transactions": tables["transactions"].clear()}, settings=SETTINGS)


# -- training


def test_model_finds_what_was_planted_and_says_how_well(trained: Trained) -> None:
    evaluation, card = trained.evaluation, trained.model.card
    precision = evaluation.rankings["model"].average_precision
    assert evaluation.plan == card.training.plan == "time"
    assert precision.low > 4 * evaluation.base_rate
    assert precision.low <= precision.value <= precision.high
    assert [b.budget for b in evaluation.rankings["model"].budgets] == [round(evaluation.accounts / 100), 20]
    assert trained.held_out["account_id"].n_unique() == evaluation.accounts == trained.held_out.height


@pytest.mark.long
def test_shuffled_labels_teach_nothing(tables: Tables) -> None:
    accounts = tables["accounts"].collect()["account_id"]
    reached, base = [], []
    for seed in range(4):
        drawn = accounts.sample(60, seed=seed)
        when = pl.Series(np.random.default_rng(seed).integers(10, 350, 60) * 24)
        payments = tables["transactions"].collect()
        # Dated like true labels, by a random payment of the account.
        ids = [
            payments.filter(pl.col("debtor_account_id") == a)["transaction_id"][int(w) % 10]
            for a, w in zip(drawn, when, strict=True)
        ]
        named = pl.concat(
            [
                pl.DataFrame({"subject_type": "account", "subject_id": drawn}),
                pl.DataFrame({"subject_type": "transaction", "subject_id": ids}),
            ]
        )
        known = (
            tables["labels"]
            .collect()
            .head(1)
            .drop("subject_type", "subject_id")
            .with_columns(known_at=pl.lit(START), scheme_id=None)
        )
        labels = named.join(known, how="cross").select(LABELS.names)
        evaluation = train(
            {**tables, "labels": labels.lazy()}, settings=SETTINGS, sampling=Sampling(plan="grouped")
        ).evaluation
        reached.append(evaluation.rankings["model"].average_precision.value)
        base.append(evaluation.base_rate)
    assert np.mean(reached) < 1.6 * np.mean(base)


def test_equal_bytes_on_one_and_two_threads(tables: Tables, trained: Trained) -> None:
    again = train(tables, settings=SETTINGS.model_copy(update={"threads": 2}))
    assert again.model.trees == trained.model.trees
    assert again.model.model_id == trained.model.model_id
    other = train(tables, settings=SETTINGS.model_copy(update={"seed": 4}))
    assert other.model.model_id != trained.model.model_id


def test_rows_that_come_later_change_no_model(tables: Tables, trained: Trained, last) -> None:  # noqa: ANN001
    later = (
        tables["transactions"]
        .head(50)
        .with_columns(
            pl.col("booked_at") + timedelta(days=900), pl.format("later:{}", "transaction_id").alias("transaction_id")
        )
    )
    more = {**tables, "transactions": pl.concat([tables["transactions"], later])}
    assert train(more, settings=SETTINGS, as_of=last).model.trees == trained.model.trees


# -- explanation


def test_contributions_add_up_exactly(tables: Tables, trained: Trained, last) -> None:  # noqa: ANN001
    model = trained.model
    x = account_rows(tables, [last], model.card.names).select(model.card.names).to_numpy()
    parts, base = bits(model.scorer, x)
    margin = model.scorer.decision_function(x) / math.log(2)
    assert np.ptp(margin) > 3
    np.testing.assert_allclose(parts.sum(axis=1) + base, margin, rtol=0, atol=1e-9)


def test_ranking_part_adds_up_to_the_calibrated_margin(tables: Tables, trained: Trained, last) -> None:  # noqa: ANN001
    fusion = trained.model.card.fusion
    asked = ["a0007", "not there"]
    learned = score(tables, trained.model, last, accounts=asked, top=30)
    sums = learned.contributions.group_by("account_id").agg(pl.col("bits").sum())
    everybody = margins(tables, trained.model, last)
    both = sums.join(everybody, on="account_id", suffix="_margin")
    assert both.height == sums.height in (30, 31)
    assert "a0007" in sums["account_id"]
    best = everybody.sort("bits", descending=True).head(30)["account_id"]
    assert set(best) <= set(sums["account_id"])
    expected = fusion.base + fusion.model_weight * both["bits_margin"].to_numpy()
    np.testing.assert_allclose(learned.base + both["bits"].to_numpy(), expected, rtol=0, atol=1e-9)
    assert not learned.contributions.select("account_id", "name").is_duplicated().any()


def test_reasons_are_said_beside_what_is_usual() -> None:
    usual = FeatureCard(name="senders_7d", known=1.0, quantiles=tuple(float(min(i // 40, 2)) for i in range(101)))
    assert describe(usual, 18.0, "USD") == "18 different senders in 7 days, usual 1 (99th percentile)"
    night = FeatureCard(name="night_share_90d", known=0.5, quantiles=tuple(i / 100 for i in range(101)))
    assert describe(night, 0.25, "USD") == "25 % of payments at night in 90 days, usual 50 % (24th percentile)"
    assert describe(night, math.nan, "USD").endswith("not known")
    growth = FeatureCard(name="in_sum_growth_30d", known=1.0, quantiles=tuple([0.0] * 101))
    assert describe(growth, 3.0, "USD").startswith("sum of credits 8 times the account's own usual sum in 30 days")
    assert [ordinal(n) for n in (1, 2, 3, 4, 11, 12, 13, 21, 42, 93)] == ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "42nd", "93rd"]  # fmt: skip


# -- rules beside the model


def test_useless_rules_get_no_weight_and_true_ones_do(tables: Tables, trained: Trained) -> None:
    rng = np.random.default_rng(1)
    held = trained.held_out
    noise = held.with_columns(rules=pl.Series(rng.normal(0, 30, held.height)))
    truth = held.with_columns(rules=pl.col("label") * 6.0, model=pl.Series(rng.normal(0, 5, held.height)))
    _, model, rules, _ = fuse(noise)
    assert rules < 0.05 < model
    _, model, rules, _ = fuse(truth)
    assert model < 0.3 < rules
    against = held.with_columns(rules=pl.col("label") * -6.0)
    assert fuse(against)[2] == 0.0


def test_the_graph_counts_only_for_what_rules_and_model_do_not_say(trained: Trained) -> None:
    rng = np.random.default_rng(2)
    held = trained.held_out
    rules = pl.Series(held["label"].to_numpy() * 3.0 + rng.normal(0, 3, held.height))
    said = held.with_columns(rules=rules, model=pl.Series(rng.normal(0, 5, held.height)))
    assert fuse(said)[3] == 1.0
    assert fuse(said.with_columns(graph=pl.Series(rng.normal(0, 30, held.height))))[3] < 0.05
    # The same evidence twice is worth what it is worth once: it is shared out, not counted again.
    alone, twice = fuse(said), fuse(said.with_columns(graph=rules))
    assert twice[2] + twice[3] == pytest.approx(alone[2], rel=0.1)


def test_rules_only_stand_beside_the_model(tables: Tables) -> None:
    truth = read_truth(tables).accounts["account_id"]
    hits = pl.concat([truth.gather_every(2), pl.Series("account_id", [f"a{i:04d}" for i in range(0, 500, 9)])]).unique()
    evaluation = train(tables, settings=SETTINGS, rule_scores=hits.to_frame().with_columns(score=4.0)).evaluation
    assert list(evaluation.rankings) == ["rules", "model", "both"]
    precision = {name: way.average_precision.value for name, way in evaluation.rankings.items()}
    assert evaluation.base_rate < precision["rules"] < precision["model"]
    assert evaluation.gains["model"].value == pytest.approx(precision["model"] - precision["rules"])
    assert evaluation.gains["both"].low > 0


# -- figures


def test_average_precision_is_scikit_learns_ties_included() -> None:
    rng = np.random.default_rng(0)
    for size in (5, 60, 400):
        label = (rng.random(size) < 0.3).astype(float)
        label[0] = 1.0
        tied = rng.integers(0, 7, size).astype(float)
        assert average_precision(label, tied) == pytest.approx(average_precision_score(label, tied), abs=1e-12)


def test_ties_are_worth_what_chance_gives() -> None:
    judged = pl.DataFrame({"label": [1.0] * 10 + [0.0] * 90, "group": range(100), "flat": [0.0] * 100})
    found = evaluate(judged, {"model": "flat"}, plan="time", budgets=(20,))
    at = found.rankings["model"].budgets[1]
    assert (at.budget, at.precision.value, at.recall.value) == (20, pytest.approx(0.1), pytest.approx(0.2))
    assert found.rankings["model"].average_precision.value == pytest.approx(0.1) == found.base_rate


# -- registry


def test_registry_keeps_versions_and_aliases(trained: Trained, tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="MLflow is an optional part")
    folder = save(trained.model, tmp_path / "models")
    first = tracking.record(trained.model, folder, lake=tmp_path, alias="champion")
    second = tracking.record(trained.model, folder, lake=tmp_path)
    assert (first.version, second.version, second.alias) == ("1", "2", "challenger")
    assert tracking.locate("champion", lake=tmp_path) == trained.model.model_id
    with pytest.raises(ModelError, match="MLflow"):
        tracking.locate("nobody", lake=tmp_path)  # type: ignore[arg-type]
    copies = list((tmp_path / "mlflow").rglob("card.json"))
    assert len(copies) == 2
    assert not list((tmp_path / "mlflow").rglob("*.pkl"))


def test_without_mlflow_the_part_is_named(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingExtraError) as caught:
        tracking.record(trained.model, tmp_path, lake=tmp_path)
    assert "fintel[mlflow]" in str(caught.value.hint)
