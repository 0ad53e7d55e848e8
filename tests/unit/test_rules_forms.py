"""Rules that look beyond their own partition: peers, the other side, correlations. And what they must not see."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from fintel.domain.schema import ACCOUNTS, TRANSACTIONS
from fintel.frames import fit
from fintel.rules import loader
from fintel.rules.model import Library
from fintel.rules.runner import Detection, detect_tables

START = datetime(2025, 1, 1, tzinfo=UTC)

PACK = "name: t\ntitle: T\ndescription: D\n"
INDICATORS = "indicators:\n  T-01: {typology: ML-GENERAL, issuer: I, document: D, text: words}\n"
HEAD = """\
title: A title
version: 1
status: test
level: medium
typology: ML-GENERAL
indicators: [T-01]
description: words
budget: 10
"""


def library(folder: Path, **rules: str) -> Library:
    (folder / "t").mkdir(parents=True)
    (folder / "indicators.yaml").write_text(INDICATORS)
    (folder / "t" / "pack.yaml").write_text(PACK)
    for name, text in rules.items():
        slug = name.replace("_", "-")
        (folder / "t" / f"{slug}.yaml").write_text(f"id: t/{slug}\n{HEAD}{text}")
    found, diagnostics = loader.load([folder])
    assert not diagnostics, diagnostics
    return found


def paid(*rows: tuple[str, str, float, float]) -> pl.DataFrame:
    """Payments (from, to, day, amount)."""
    return fit(
        pl.DataFrame(
            [
                {
                    "transaction_id": f"t:{number:06d}",
                    "booked_at": START + timedelta(days=day),
                    "amount": Decimal(str(amount)),
                    "amount_base": Decimal(str(amount)),
                    "currency": "USD",
                    "debtor_account_id": debtor,
                    "creditor_account_id": creditor,
                    "status": "booked",
                }
                for number, (debtor, creditor, day, amount) in enumerate(rows)
            ]
        ),
        TRANSACTIONS,
    )


def accounts(**kinds: str) -> pl.DataFrame:
    return fit(pl.DataFrame([{"account_id": a, "kind": k} for a, k in kinds.items()]), ACCOUNTS)


def subjects(found: Detection, rule: str) -> list[str]:
    return sorted(found.episodes.filter(pl.col("rule_id") == f"t/{rule}")["account_id"].unique().to_list())


PEERS = """\
per: [account_id]
parameters: {ratio: {default: 3, basis: engineering, range: [1, 10]}}
anchor: direction = 'out'
measures:
  sends: {count: "*", timespan: 30d}
  usual: {peers: sends, quantile: 0.5, timespan: 60d, by: [account_kind]}
when: sends >= :ratio * usual
reason: "{sends} where peers usually have {usual}"
"""


def crowd(kind: str, sends: int, *, of: int = 30, first_day: float = 0) -> list[tuple[str, str, float, float]]:
    return [(f"{kind}{i}", "shop", first_day + n, 10) for i in range(of) for n in range(sends)]


def test_peers_are_of_ones_own_kind(tmp_path: Path) -> None:
    rules = library(tmp_path, busy=PEERS)
    # persons send twice in a block of 30 days, organisations nine times; six are many for a person only
    rows = [*crowd("p", 2), *crowd("o", 9)]
    later = 45.0
    rows += [(who, "shop", later + n / 10, 10) for who in ("p0", "o0") for n in range(6)]
    kinds = {f"p{i}": "person" for i in range(30)} | {f"o{i}": "organisation" for i in range(30)}
    found = detect_tables({"transactions": paid(*rows), "accounts": accounts(**kinds)}, rules)
    assert subjects(found, "busy") == ["p0"]
    clause = found.clauses.filter(pl.col("measure") == "usual")
    assert clause["observed"].to_list() == [2.0]


def test_few_peers_fall_back_to_all_and_too_few_say_nothing(tmp_path: Path) -> None:
    rules = library(tmp_path, busy=PEERS)
    burst = [("x", "shop", 45 + n / 10, 10) for n in range(6)]
    few = {f"p{i}": "person" for i in range(20)} | {f"o{i}": "organisation" for i in range(20)} | {"x": "person"}
    rows = [*crowd("p", 2, of=20), *crowd("o", 2, of=20), *burst]
    assert subjects(detect_tables({"transactions": paid(*rows), "accounts": accounts(**few)}, rules), "busy") == ["x"]
    rows = [*crowd("p", 2, of=20), *burst]
    assert subjects(detect_tables({"transactions": paid(*rows), "accounts": accounts(**few)}, rules), "busy") == []


def test_peers_do_not_see_the_present_block(tmp_path: Path) -> None:
    rules = library(tmp_path, busy=PEERS)
    rows = [*crowd("p", 2), *[("x", "shop", 45 + n / 10, 10) for n in range(6)]]
    kinds = {f"p{i}": "person" for i in range(30)} | {"x": "person"}
    before = detect_tables({"transactions": paid(*rows), "accounts": accounts(**kinds)}, rules)
    busy_now = [(f"p{i}", "shop", 44 + n / 20, 10) for i in range(30) for n in range(40)]
    after = detect_tables({"transactions": paid(*rows, *busy_now), "accounts": accounts(**kinds)}, rules)
    shown = [
        d.clauses.join(d.episodes.filter(pl.col("account_id") == "x"), on="episode_id")
        .filter(pl.col("measure") == "usual")["observed"]
        .to_list()
        for d in (before, after)
    ]
    assert shown == [[2.0], [2.0]]


TWIN = """\
per: [account_id]
parameters: {payers: {default: 3, basis: engineering, range: [2, 10]}}
anchor: direction = 'out'
measures:
  theirs: {distinct: counterparty_id, timespan: 10d, where: "direction = 'in'", at: counterparty}
when: theirs >= :payers
reason: "the payee has {theirs} payers"
"""


def test_the_other_side_is_seen_as_of_the_payment(tmp_path: Path) -> None:
    rules = library(tmp_path, shared=TWIN)
    rows = [("a", "hub", 1, 5), ("b", "hub", 2, 5), ("c", "hub", 3, 5), ("d", "hub", 20, 5), ("e", "quiet", 3, 5)]
    found = detect_tables({"transactions": paid(*rows)}, rules)
    assert subjects(found, "shared") == [
        "c"
    ]  # a and b paid before the third payer came; d when two had left the window
    proof = found.evidence.sort("entry_id")
    assert proof["entry_id"].to_list() == ["t:000000/in", "t:000001/in", "t:000002/in"]
    assert found.clauses["kind"].to_list() == ["distinct at counterparty"]
    assert found.clauses["evidence_rows"].to_list() == [3]


OUT = """\
per: [account_id]
anchor: direction = 'out' and amount = 1
measures: {n: {count: "*", timespan: 1d}}
when: n >= 1
reason: "{n}"
"""
TOGETHER = """\
parameters: {some: {default: 1, basis: engineering, range: [1, 2]}}
correlation:
  timespan: 5d
  all: [t/ones]
  any: {at_least: ":some", of: [t/twos, t/threes]}
reason: "{all} with {any}"
"""
IN_ORDER = """\
correlation:
  timespan: 5d
  ordered: [t/ones, t/twos]
reason: "{ordered}"
"""
ACROSS = """\
correlation:
  timespan: 5d
  all: [t/ones]
  any: {at_least: 1, of: [t/threes]}
  across: any
reason: "{all}, and a counterparty with {any}"
"""


@pytest.fixture
def correlated(tmp_path: Path) -> Library:
    ones, twos, threes = (OUT.replace("amount = 1", f"amount = {n}") for n in (1, 2, 3))
    return library(tmp_path, ones=ones, twos=twos, threes=threes, both=TOGETHER, chain=IN_ORDER, near=ACROSS)


def test_all_and_any_within_the_span(correlated: Library) -> None:
    rows = [
        ("a", "z", 0, 1), ("a", "z", 4, 2),  # both, four days apart
        ("b", "z", 0, 1), ("b", "z", 5, 2),  # five days apart: not within
        ("c", "z", 0, 2), ("c", "z", 1, 3),  # two of 'any', none of 'all'
        ("d", "z", 3, 3), ("d", "z", 4, 1),  # any order will do
    ]  # fmt: skip
    found = detect_tables({"transactions": paid(*rows)}, correlated)
    assert subjects(found, "both") == ["a", "d"]
    mine = found.episodes.filter((pl.col("rule_id") == "t/both") & (pl.col("account_id") == "a"))
    assert mine["reason"].to_list() == ["t/ones with t/twos: 1; 1"]
    clauses = found.clauses.filter(pl.col("episode_id") == mine["episode_id"][0]).sort("clause")
    assert clauses.select("measure", "observed", "threshold").rows() == [
        ("t/ones", 1.0, 1.0),
        ("any", 1.0, 1.0),
        ("t/twos", 1.0, None),
    ]
    proof = found.evidence.filter(pl.col("episode_id") == mine["episode_id"][0])
    assert sorted(proof["measure"].to_list()) == ["t/ones", "t/twos"]
    tuned = correlated["t/both"].tuned({"some": 2})
    stricter = Library(
        tuple(tuned if r.id == "t/both" else r for r in correlated.rules), indicators=correlated.indicators
    )
    assert subjects(detect_tables({"transactions": paid(*rows)}, stricter), "both") == []


def test_order_matters_where_it_is_asked_for(correlated: Library) -> None:
    rows = [("a", "z", 0, 1), ("a", "z", 4, 2), ("b", "z", 0, 2), ("b", "z", 4, 1), ("c", "z", 0, 1), ("c", "z", 6, 2)]
    assert subjects(detect_tables({"transactions": paid(*rows)}, correlated), "chain") == ["a"]


def test_across_an_edge(correlated: Library) -> None:
    rows = [
        ("a", "y", 1, 1), ("y", "w", 3, 3),  # a paid y, and y is one of the threes soon after
        ("b", "v", 1, 1), ("v", "w", 9, 3),  # too late
        ("c", "w", 1, 1), ("c", "w", 2, 3),  # its own three is not a counterparty's
    ]  # fmt: skip
    found = detect_tables({"transactions": paid(*rows)}, correlated)
    assert subjects(found, "near") == ["a"]
    results = {r["rule_id"]: r for r in found.rule_results.iter_rows(named=True)}
    assert results["t/near"]["outcome"] == "evaluated" and results["t/near"]["episodes"] == 1


def test_a_correlation_of_a_blind_rule_cannot_tell(tmp_path: Path) -> None:
    blind = OUT.replace("amount = 1", "merchant_country = 'PH'")
    rules = library(tmp_path, ones=blind, twos=OUT.replace("amount = 1", "amount = 2"), threes=OUT, both=TOGETHER)
    found = detect_tables({"transactions": paid(("a", "z", 0, 2))}, rules)
    both = found.rule_results.filter(pl.col("rule_id") == "t/both").row(0, named=True)
    assert both["outcome"] == "cannot_tell" and "t/ones" in both["reason"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (("t/twos, t/threes", "t/twos, t/fours"), "R052"),
        (('":some"', "3"), "R052"),
        (('":some"', '":many"'), "R024"),
        (("all: [t/ones]", "all: [t/chain]"), "R052"),
        (("timespan: 5d", "timespan: 5"), "R044"),
    ],
)
def test_what_a_correlation_cannot_name(tmp_path: Path, change: tuple[str, str], code: str) -> None:
    ones, twos, threes = (OUT.replace("amount = 1", f"amount = {n}") for n in (1, 2, 3))
    (tmp_path / "t").mkdir()
    (tmp_path / "indicators.yaml").write_text(INDICATORS)
    (tmp_path / "t" / "pack.yaml").write_text(PACK)
    texts = {"ones": ones, "twos": twos, "threes": threes, "chain": IN_ORDER, "both": TOGETHER.replace(*change)}
    for name, text in texts.items():
        (tmp_path / "t" / f"{name}.yaml").write_text(f"id: t/{name}\n{HEAD}{text}")
    found, diagnostics = loader.load([tmp_path])
    assert code in {d.code for d in diagnostics}
    assert {r.id for r in found.rules} == {"t/ones", "t/twos", "t/threes", "t/chain"}


def test_nothing_later_withdraws_a_correlation(correlated: Library) -> None:
    """The peak of a component moves when more comes; what was there stays there."""
    rows = [("a", "z", 1, 1), ("a", "z", 2, 2)]
    more = [*rows, *[("a", "z", 2.5 + n / 100, 1) for n in range(5)]]
    for payments in (rows, more):
        found = detect_tables({"transactions": paid(*payments)}, correlated)
        assert subjects(found, "chain") == ["a"] and subjects(found, "both") == ["a"]


def test_a_busy_account_is_judged_in_linear_time(tmp_path: Path) -> None:
    """One episode a payment, thousands of them: no join may pair them all."""
    short = OUT.replace("timespan: 1d", "timespan: 1s")
    ones, twos, threes = (short.replace("amount = 1", f"amount = {n}") for n in (1, 2, 3))
    rules = library(tmp_path, ones=ones, twos=twos, threes=threes, both=TOGETHER, near=ACROSS)
    rows = [("a", "hub", n / 50, 1 + n % 3) for n in range(6_000)] + [("hub", "b", n / 50, 3) for n in range(6_000)]
    found = detect_tables({"transactions": paid(*rows)}, rules)
    assert {"a", "hub"} <= set(subjects(found, "threes"))
    assert subjects(found, "both") == ["a"] and subjects(found, "near") == ["a"]
    assert found.evidence.height < 200_000
