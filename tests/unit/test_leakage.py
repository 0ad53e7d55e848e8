"""Each kind of leak is planted, and the audit refuses it by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from models_cases import START, Tables, population

from fintel.errors import ModelError
from fintel.models.account_rows import account_rows
from fintel.models.dataset import Examples, Sampling, build
from fintel.models.labels import label_rows, read_cleared, read_truth, reviewed
from fintel.models.leakage import BOUND, Recompute, Waivers, audit

FAMILIES = ("volume", "flow", "risk")


@pytest.fixture(scope="module")
def tables() -> Tables:
    return {name: frame.collect().lazy() for name, frame in population().items()}


@pytest.fixture(scope="module")
def last(tables: Tables) -> datetime:
    found: datetime = tables["transactions"].select(pl.col("booked_at").max()).collect().item()
    return found


@pytest.fixture(scope="module")
def examples(tables: Tables, last: datetime) -> Examples:
    return build(tables, last, Sampling(families=FAMILIES), seed=3, threads=1)


def recompute(names: tuple[str, ...]) -> Recompute:
    return lambda tables, moment, accounts: account_rows(tables, [moment], names, accounts=accounts, threads=1)


def with_column(examples: Examples, name: str, values: np.ndarray) -> Examples:
    x = np.column_stack([examples.x, values.astype(np.float32)])
    return replace(examples, x=x, names=(*examples.names, name))


def planted(examples: Examples, name: str, of: Callable[[pl.DataFrame, Tables], pl.Series], tables: Tables):  # noqa: ANN201
    """The examples with a feature more, computed from whole tables, and how it is computed anew."""
    leaky = with_column(examples, name, of(examples.rows, tables).to_numpy())

    def anew(cut: Tables, moment: datetime, accounts: pl.Series) -> pl.DataFrame:
        rows = recompute(examples.names)(cut, moment, accounts)
        return rows.with_columns(of(rows, cut).cast(pl.Float32).alias(name))

    return leaky, anew


def test_an_honest_set_passes_and_says_what_was_looked_at(examples: Examples, tables: Tables) -> None:
    card = audit(examples, tables, recompute(examples.names))
    assert [check.split(":")[0] for check in card.checks] == ["embargo", "groups", "known_at", "label", "future"]
    assert card.rows > 300 and len(card.moments) == 2 and card.positives > 20
    assert all(0.5 <= max(a.value, a.known) < BOUND for a in card.alone)
    assert card.alone == tuple(sorted(card.alone, key=lambda a: -max(a.value, a.known)))


def payments_after(rows: pl.DataFrame, tables: Tables) -> pl.Series:
    """How many payments the account has made up to a day after the moment."""
    paid = tables["transactions"].select(account_id="debtor_account_id", at="booked_at").collect()
    keyed = rows.select("account_id", "as_of").with_row_index("row")
    seen = keyed.join(paid, on="account_id").filter(pl.col("at") < pl.col("as_of") + timedelta(days=1))
    counts = seen.group_by("row").agg(n=pl.len())
    return keyed.join(counts, on="row", how="left", maintain_order="left")["n"].fill_null(0)


def share_of_feed(rows: pl.DataFrame, tables: Tables) -> pl.Series:
    """Nothing of the account's future, but the whole feed's: a scaling fitted on everything."""
    return pl.repeat(
        tables["transactions"].select(pl.col("amount").cast(pl.Float64).mean()).collect().item(),
        rows.height,
        eager=True,
    )


def labelled_ever(rows: pl.DataFrame, tables: Tables) -> pl.Series:
    """Labels without their known_at."""
    known = tables["labels"].filter(pl.col("subject_type") == "account").collect()["subject_id"]
    return rows["account_id"].is_in(known.implode()).cast(pl.Int8)


@pytest.mark.parametrize("of", [payments_after, share_of_feed])
def test_a_feature_that_sees_the_future_is_refused(examples: Examples, tables: Tables, of) -> None:  # noqa: ANN001
    leaky, anew = planted(examples, "leak", of, tables)
    with pytest.raises(ModelError, match=r"change with rows that come later: leak$"):
        audit(leaky, tables, anew)
    # A waiver lets a feature tell the label; none lets it see the future.
    with pytest.raises(ModelError, match="come later"):
        audit(leaky, tables, anew, waivers=Waivers({"leak": "we like it"}))


def test_labels_that_are_not_known_yet_are_refused_as_a_feature(examples: Examples, tables: Tables) -> None:
    leaky, anew = planted(examples, "leak", labelled_ever, tables)
    with pytest.raises(ModelError, match="leak"):
        audit(leaky, tables, anew, waivers=Waivers({"leak": "a check of the next check"}))


def label_of(examples: Examples) -> np.ndarray:
    return examples.rows["label"].fill_null(0.0).to_numpy().copy()


@pytest.mark.parametrize("kind", ["value", "reversed", "missing", "nearly"])
def test_a_feature_that_tells_the_label_is_refused(examples: Examples, tables: Tables, kind: str) -> None:
    rng = np.random.default_rng(1)
    label = label_of(examples)
    noise = rng.random(label.size)
    values = {
        "value": label,
        "reversed": -label + 0.1 * noise,
        "missing": np.where(label > 0, np.nan, noise),  # whether it is known tells
        "nearly": label + 0.7 * (noise < 0.006),
    }[kind]
    leaky = with_column(examples, "leak", values)
    with pytest.raises(ModelError, match=r"tell the label alone.*leak \(") as caught:
        audit(leaky, tables, recompute(examples.names))
    assert "--waive" in str(caught.value.hint)


def test_a_waiver_lets_it_through_and_is_kept(examples: Examples, tables: Tables) -> None:
    name = examples.names[0]
    x = examples.x.copy()
    x[:, 0] = label_of(examples)
    leaky = replace(examples, x=x)

    def anew(cut: Tables, moment: datetime, accounts: pl.Series) -> pl.DataFrame:
        rows = recompute(examples.names)(cut, moment, accounts)
        here = leaky.rows.select("account_id", "as_of").with_columns(pl.Series(name, x[:, 0]))
        known = rows.select("account_id", "as_of").join(here, on=["account_id", "as_of"], how="left")
        return rows.with_columns(known[name])

    card = audit(leaky, tables, anew, waivers=Waivers({name: "the product pays out when it is closed"}))
    assert card.waived == {name: "the product pays out when it is closed"}
    assert card.alone[0].name == name and card.alone[0].value == 1.0
    with pytest.raises(ModelError, match="no feature 'in_cuont_7d'"):
        audit(examples, tables, anew, waivers=Waivers({"in_cuont_7d": "x"}))
    with pytest.raises(ModelError, match="no reason"):
        audit(examples, tables, anew, waivers=Waivers({name: " "}))


def test_a_gap_shorter_than_the_label_is_refused(examples: Examples, tables: Tables) -> None:
    plan = examples.plan
    assert plan.kind == "time"
    for short in (
        replace(plan, test_at=(max(plan.fit_at) + timedelta(days=plan.before_days - 1),)),
        replace(plan, after_days=1.0),
    ):
        with pytest.raises(ModelError, match="a label reaches"):
            audit(replace(examples, plan=short), tables, recompute(examples.names))


def test_groups_in_two_folds_are_refused(examples: Examples, tables: Tables) -> None:
    rows = examples.rows
    fold = (rows["fold"].to_numpy() + (np.arange(rows.height) % 2)) % 5
    with pytest.raises(ModelError, match="two folds"):
        audit(replace(examples, rows=rows.with_columns(fold=pl.Series(fold))), tables, recompute(examples.names))
    # Each account in one fold, and a holder's accounts in two groups.
    held = tables["accounts"].with_columns(party_id=pl.lit("one holder"))
    with pytest.raises(ModelError, match="holders have accounts in several groups"):
        audit(examples, {**tables, "accounts": held}, recompute(examples.names))


def test_labels_known_too_late_are_refused(examples: Examples, tables: Tables) -> None:
    early = replace(examples.plan, known_by=START + timedelta(days=100))
    with pytest.raises(ModelError, match="not known by 2023-04-11 are trained on"):
        audit(replace(examples, plan=early), tables, recompute(examples.names))


# -- what labels mean


def test_a_horizon_looks_ahead_and_moves_the_judged_moment_back(tables: Tables, last: datetime) -> None:
    truth = read_truth(tables)
    account, at = truth.activity.row(0)
    rows = pl.DataFrame({"account_id": [account] * 3, "as_of": [at, at - timedelta(days=9), at - timedelta(days=11)]})
    assert label_rows(rows, truth, 30).to_list() == [None, None, None]
    assert label_rows(rows, truth, 30, 10).to_list() == [1.0, 1.0, None]
    found = build(tables, last, Sampling(horizon_days=10, families=("volume",)), seed=3, threads=1)
    plan = found.plan
    assert (plan.after_days, plan.gap_days - plan.before_days) == (10, 10)
    assert plan.test_at == (last - timedelta(days=10),)
    assert max(plan.fit_at) + timedelta(days=plan.before_days + 10) <= min(plan.test_at)
    assert found.rows.filter(pl.col("truth") == 1).height > 0
    audit(found, tables, recompute(found.names))


def test_closed_alerts_weigh_more_than_what_nobody_looked_at(tables: Tables, last: datetime) -> None:
    suspicious = read_truth(tables).accounts["account_id"]
    closed = [f"a{i:04d}" for i in range(0, 500, 10) if f"a{i:04d}" not in suspicious][:40]
    one = tables["labels"].filter(pl.col("subject_type") == "account").head(1).collect()
    looked = pl.DataFrame({"subject_id": [*closed, suspicious[0]]}).join(one.drop("subject_id"), how="cross")
    looked = looked.with_columns(
        suspicious=pl.lit(value=False), known_at=pl.lit(START + timedelta(days=200)), label_source=pl.lit("alerts")
    )
    more = {**tables, "labels": pl.concat([tables["labels"].collect(), looked.select(one.columns)]).lazy()}
    cleared = read_cleared(more, last)
    assert cleared["account_id"].to_list() == sorted(closed)  # who was found suspicious is no negative
    assert read_cleared(more, START + timedelta(days=199)).is_empty()
    rows = pl.DataFrame(
        {"account_id": [closed[0]] * 2 + ["a0001"], "as_of": [START + timedelta(days=d) for d in (250, 300, 250)]}
    )
    assert reviewed(rows, cleared, 90).to_list() == [True, False, False]
    found = build(more, last, Sampling(families=("volume",), unreviewed_weight=0.1), seed=3, threads=1)
    weight = found.rows.select("account_id", "as_of", "label").with_columns(weight=pl.Series(found.weight))
    assert set(weight.filter(pl.col("label") == 1)["weight"]) == {1.0}
    assert sorted(set(weight.filter(pl.col("label") == 0)["weight"])) == pytest.approx([0.1, 1.0])
    assert set(weight.filter((pl.col("weight") == 1) & (pl.col("label") == 0))["account_id"]) <= set(closed)
    assert "looked at and cleared" in found.plan.notes[-1]
    # Where nobody was cleared there is nothing to tell apart.
    alone = build(tables, last, Sampling(families=("volume",), unreviewed_weight=0.1), seed=3, threads=1)
    assert set(alone.weight) == {1.0}


@pytest.mark.parametrize(
    "wrong", [{"step_days": 0}, {"horizon_days": -1}, {"unreviewed_weight": 0.0}, {"unreviewed_weight": 2.0}]
)
def test_samplings_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ModelError, match="cannot be"):
        Sampling(**wrong)  # type: ignore[arg-type]
