"""Evidence of rules that read motifs: the payments of the other hops, with the numbers that they make."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest

from fintel.rules import loader
from fintel.rules.cases import load_cases
from fintel.rules.runner import Detection, detect_tables
from tests.graph.test_entry_columns import tables

RULES = {
    "ml-general/money-comes-back-over-others": "cycle-kept",
    "ml-general/relay-chain": "chain",
    "ml-general/scattered-and-gathered-within-a-day": "scatter-gather-conserved",
    "ml-general/gather-scatter": "gather-scatter",
    "crypto/peel-chain": "peel-chain",
}


@pytest.fixture(scope="module")
def library():
    return loader.load([loader.packs_folder()])[0]


def of_case(library, rule_id: str) -> tuple[dict[str, pl.DataFrame], Detection]:
    """The first case of a rule that hits, and what the rule finds there."""
    only = library.only([rule_id])
    case = next(c for c in load_cases(only.rules[0])[0] if c.expect.hit)
    return case.tables, detect_tables(case.tables, only, base_currency=case.base, threads=1)


@pytest.mark.parametrize(("rule_id", "motif"), RULES.items())
def test_the_other_hops_are_evidence(library, rule_id: str, motif: str) -> None:
    given, found = of_case(library, rule_id)
    payments = given["transactions"]
    assert found.episodes.height > 0
    for episode, account in found.episodes.select("episode_id", "account_id").iter_rows():
        clause = found.clauses.filter((pl.col("episode_id") == episode) & (pl.col("kind") == "motif"))
        assert clause["measure"].to_list() == [motif]
        mine = found.evidence.filter((pl.col("episode_id") == episode) & (pl.col("measure") == motif))
        rows = mine.join(payments, on="transaction_id").sort("booked_at", "transaction_id")
        assert rows.height == mine.height == clause["evidence_rows"][0] and not clause["evidence_truncated"][0]
        number = clause["observed"][0]
        if motif in ("cycle-kept", "chain", "peel-chain"):
            assert number == rows.height >= 3
            assert rows["creditor_account_id"][:-1].to_list() == rows["debtor_account_id"][1:].to_list()
            assert set(rows.filter(
                (pl.col("debtor_account_id") != account) & (pl.col("creditor_account_id") != account)
            )["entry_id"].str.slice(-3)) <= {"out", "/in"}  # fmt: skip
        if motif == "cycle-kept":
            assert rows["debtor_account_id"][0] == rows["creditor_account_id"][-1] == account
        # What the clause says of its window holds its payments, and the last is at the peak.
        assert clause["window_from"][0] < rows["booked_at"].min() and clause["window_to"][0] == rows["booked_at"].max()
        # The subject's own entry stands for its payments.
        own = rows.filter((pl.col("debtor_account_id") == account) | (pl.col("creditor_account_id") == account))
        side = pl.when(pl.col("debtor_account_id") == account).then(pl.lit("out")).otherwise(pl.lit("in"))
        assert (
            own.height and own.select((pl.col("entry_id") == pl.format("{}/{}", "transaction_id", side)).all()).item()
        )


def ring(*extra):
    rows = [(0.0, "a", "b", 1000.0), (5.0, "b", "c", 980.0), (9.0, "c", "d", 960.0), (20.0, "d", "a", 950.0)]
    feed = tables(sorted([*rows, *extra], key=lambda r: r[0]))
    frame = feed["transactions"].with_columns(instrument=pl.lit("credit_transfer")).collect()
    return {"transactions": frame}


def test_entries_of_mere_names_are_cited_from_the_side_in_view(library) -> None:
    """A hop whose payer is no account is its payee's entry; one between two names is nobody's, and is told as missing."""
    given = ring()
    name = pl.when(pl.col("debtor_account_id") == "c").then(pl.lit("C")).alias("debtor_name")
    payee = pl.when(pl.col("creditor_account_id") == "c").then(pl.lit("C")).alias("creditor_name")
    frame = given["transactions"].with_columns(name, payee)
    frame = frame.with_columns(
        debtor_account_id=pl.when(pl.col("debtor_name").is_null()).then("debtor_account_id"),
        creditor_account_id=pl.when(pl.col("creditor_name").is_null()).then("creditor_account_id"),
    )
    only = library.only(["ml-general/money-comes-back-over-others"])
    found = detect_tables({"transactions": frame}, only, threads=1)
    hops = found.evidence.filter(pl.col("measure") == "cycle-kept")["entry_id"].to_list()
    assert hops == ["t:000/out", "t:001/out", "t:002/in", "t:003/in"]


def test_witnesses_change_no_score_and_no_later_payment_changes_them(library) -> None:
    only = library.only(list(RULES))
    before = detect_tables(ring(), only, threads=1)
    later = [(60.0 + n, "b", "c", 1000.0) for n in range(5)]
    after = detect_tables(ring(*later), only, threads=1)
    mine = pl.col("measure").is_in(["cycle-kept"])
    assert before.evidence.filter(mine).height == 4
    assert before.evidence.filter(mine).equals(after.evidence.filter(mine))
    without = before.evidence.filter(pl.col("measure") != "cycle-kept")
    own = without.select(pl.col("entry_id").str.ends_with("t:003/in").any()).item()
    assert own and before.episodes["share"].to_list() == after.episodes["share"].to_list()


def test_a_search_cut_short_is_told(library) -> None:
    """An account with more payers than the cap: whoever reads the result sees that a no may be none."""
    busy = [(n / 100, f"p{n:03d}", "m", 1000.0) for n in range(600)]
    feed = tables([*busy, (7.0, "m", "x", 990.0), (8.0, "x", "y", 980.0), (9.0, "y", "z", 970.0)])
    frame = feed["transactions"].with_columns(instrument=pl.lit("credit_transfer")).collect()
    found = detect_tables({"transactions": frame}, library.only(["ml-general/relay-chain"]), threads=1)
    (reason,) = found.rule_results["reason"]
    assert "2 entries (flow_truncated)" in reason and found.rule_results["outcome"].to_list() == ["evaluated"]
    whole = detect_tables(ring(), library.only(["ml-general/relay-chain"]), threads=1)
    assert whole.rule_results["reason"].to_list() == [None]


def test_thousands_of_episodes_share_one_pass(library) -> None:
    """Rings side by side: as many witnesses as episodes."""
    many = 2_000
    day = timedelta(days=1)
    base = ring()["transactions"]
    copies = [
        base.with_columns(
            pl.format("{}-{}", "transaction_id", pl.lit(n)).alias("transaction_id"),
            booked_at=pl.col("booked_at") + day * (n % 50),
            debtor_account_id=pl.format("{}{}", "debtor_account_id", pl.lit(n)),
            creditor_account_id=pl.format("{}{}", "creditor_account_id", pl.lit(n)),
        )
        for n in range(many)
    ]
    only = library.only(["ml-general/money-comes-back-over-others"])
    found = detect_tables({"transactions": pl.concat(copies)}, only, threads=1)
    counted = found.evidence.filter(pl.col("measure") == "cycle-kept").group_by("episode_id").len()
    assert found.episodes.height == many == counted.height and set(counted["len"]) == {4}
    assert found.seconds["witnesses"] < 10
