"""Counterparties: numpy's formulae and brute force are the oracles."""

from __future__ import annotations

import itertools
import math
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from graph_cases import NOW, START, network, payments, transactions
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from test_rings import tables as of_identifiers

from fintel.domain.schema import ACCOUNTS, PARTIES
from fintel.frames import fit
from fintel.graph.profiles import (
    HUB,
    RECENT,
    SIGNATURE,
    corridors,
    counterparty_profiles,
    jaccard_estimate,
    payer_overlaps,
)
from fintel.graph.rings import rings


def close(got: float | None, wanted: float | None) -> bool:
    if got is None or wanted is None:
        return got is wanted
    return got == pytest.approx(wanted, abs=1e-12)


def spread(amounts: list[int]) -> tuple[float | None, ...]:
    x = np.array([a for a in amounts if a > 0], float)
    if not x.size:
        return None, None, None, None
    share = x / x.sum()
    gini = np.abs(x[:, None] - x[None, :]).sum() / (2 * x.size**2 * x.mean())
    return float(-(share * np.log2(share)).sum()), float((share**2).sum()), float(gini), float(share.max())


@given(payments(), st.sampled_from([24.5, 400, 24 * 50]))
@settings(max_examples=120, deadline=None)
def test_equals_formulae(rows: list[Any], hours: float) -> None:
    as_of = START + timedelta(hours=hours)
    found = counterparty_profiles(network(transactions(rows)), as_of=as_of)
    seen = [(u, v, START + timedelta(hours=h), cents) for u, v, h, cents in rows if u != v and h <= hours]
    amount: dict[tuple[str, str], int] = {}
    first: dict[tuple[str, str], Any] = {}
    for u, v, at, cents in sorted(seen, key=lambda row: row[2]):
        amount[u, v] = amount.get((u, v), 0) + (cents or 0)
        first.setdefault((u, v), at)
    for row in found.iter_rows(named=True):
        me = row["account_id"]
        sides = {"payer": {u: (u, v) for u, v in amount if v == me}, "payee": {v: (u, v) for u, v in amount if u == me}}
        for side, pairs in sides.items():
            assert row[f"{side}s"] == len(pairs)
            wanted = spread([amount[pair] for pair in pairs.values()])
            for what, value in zip(("entropy", "herfindahl", "gini", "top_share"), wanted, strict=True):
                assert close(row[f"{side}_{what}"], value), (side, what)
            new = sum(first[pair] > as_of - RECENT for pair in pairs.values())
            assert close(row[f"new_{side}s_share"], new / len(pairs) if pairs else None)
        both = set(sides["payer"]) & set(sides["payee"])
        every = set(sides["payer"]) | set(sides["payee"])
        assert close(row["reciprocity"], len(both) / len(every) if every else None)
        went = sum(amount[pair] for pairs in sides.values() for pair in pairs.values())
        back = sum(2 * min(amount[other, me], amount[me, other]) for other in both)
        assert close(row["reciprocal_amount_share"], back / went if went else None)
        begun = [first[pair] for pairs in sides.values() for pair in pairs.values()]
        assert close(row["history_days"], (as_of - min(begun)) / timedelta(days=1) if begun else None)
        couples = list(itertools.combinations(sides["payer"], 2))
        unrelated = sum((a, b) not in amount and (b, a) not in amount for a, b in couples)
        assert close(row["unrelated_payers"], unrelated / len(couples) if couples else None)
        assert row["payers_passed_over"] == 0


@given(payments(), payments())
@settings(max_examples=40, deadline=None)
def test_order_and_later_payments_change_nothing(rows: list[Any], later: list[Any]) -> None:
    as_of = START + timedelta(hours=24 * 50)
    table = transactions(rows)
    late = transactions([(u, v, h + 24 * 50 + 0.001, c) for u, v, h, c in later], first=len(rows))
    found = counterparty_profiles(network(table), as_of=as_of)
    more = pl.concat([late, table.sample(fraction=1, shuffle=True, seed=2)])
    again = counterparty_profiles(network(more), as_of=as_of)
    assert_frame_equal(again.join(found.select("account_id"), on="account_id", how="semi"), found, abs_tol=1e-12)
    pairs, _ = payer_overlaps(network(table), as_of=as_of, at_least=2)
    assert_frame_equal(payer_overlaps(network(more), as_of=as_of, at_least=2)[0], pairs)
    where = corridors(network(table), {"transactions": table.lazy()}, as_of=as_of)
    assert_frame_equal(corridors(network(more), {"transactions": more.lazy()}, as_of=as_of), where, abs_tol=1e-12)


def test_payers_of_one_ring_or_household_are_related_and_hubs_are_named() -> None:
    known = [(p, "address", "Main 1") for p in ("p1", "p2", "p3")]
    owners = {f"a{i}": f"p{i}" for i in range(1, 6)}
    # a1, a2, a3 share an address, and a1 also paid a2; a4 paid a5. Of ten pairs of payers four are related.
    rows = [(f"a{i}", "collector", 1, 100) for i in range(1, 6)] + [("a1", "a2", 1, 100), ("a4", "a5", 1, 100)]
    net = network(transactions(rows))

    def unrelated(found: pl.DataFrame) -> tuple[float, int]:
        return found.filter(pl.col("account_id") == "collector").select("unrelated_payers", "payers_passed_over").row(0)

    assert unrelated(counterparty_profiles(net, as_of=NOW, rings=rings(of_identifiers(known, owners)))) == (0.6, 0)
    assert unrelated(counterparty_profiles(net, as_of=NOW)) == (0.8, 0)
    # An employer who pays everybody is not looked at as one who knows them, and that is said.
    wages = [*rows, ("employer", "collector", 1, 100), *(("employer", f"w{i}", 1, 100) for i in range(HUB))]
    wages += [("employer", f"a{i}", 1, 100) for i in range(1, 6)]
    assert unrelated(counterparty_profiles(network(transactions(wages)), as_of=NOW)) == (13 / 15, 1)


@given(st.integers(0, 2**32), st.integers(10, 200), st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_minhash_keeps_its_stated_error(seed: int, size: int, overlap: float) -> None:
    rng = np.random.default_rng(seed)
    shared = round(size * overlap)
    names = rng.permutation(10 * size)
    sets = {"x": names[:size], "y": names[size - shared : 2 * size - shared]}
    rows = [(f"p{i}", to, 1, 100) for to, payers in sets.items() for i in payers]
    exact = shared / (2 * size - shared)
    estimate = jaccard_estimate(network(transactions(rows)), ["x", "y"], as_of=NOW)
    assert estimate[0, 0] == 1
    error = math.sqrt(exact * (1 - exact) / SIGNATURE)
    assert abs(estimate[0, 1] - exact) <= 5 * error


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_overlaps_are_exact_and_none_of_the_like_is_missed(seed: int) -> None:
    rng = np.random.default_rng(seed)
    payers: dict[str, set[int]] = {}
    for i in range(12):
        base = set(rng.choice(40, int(rng.integers(3, 20)), replace=False).tolist())
        payers[f"c{i:02d}"] = base
        payers[f"d{i:02d}"] = {p for p in base if rng.random() < 0.8} | {int(rng.integers(40, 80))}
    rows = [(f"p{i}", to, 1, 100) for to, own in payers.items() for i in own]
    found, skipped = payer_overlaps(network(transactions(rows)), as_of=NOW, at_least=5, similarity=0.3)
    assert skipped.is_empty()
    exact = {
        (a, b): (
            len(payers[a]),
            len(payers[b]),
            len(payers[a] & payers[b]),
            len(payers[a] & payers[b]) / len(payers[a] | payers[b]),
        )
        for a, b in itertools.combinations(sorted(payers), 2)
        if min(len(payers[a]), len(payers[b])) >= 5
    }
    got = {(row[0], row[1]): row[2:] for row in found.rows()}
    assert got == {pair: pytest.approx(exact[pair]) for pair in got}
    assert all(exact[pair][3] >= 0.3 for pair in got)
    assert {pair for pair, value in exact.items() if value[3] >= 0.6} <= set(got)


def test_a_crowd_of_equals_is_named_not_paired() -> None:
    rows = [(f"p{i}", f"c{j:03d}", 1, 100) for j in range(201) for i in range(5)]
    found, skipped = payer_overlaps(network(transactions(rows)), as_of=NOW)
    assert found.is_empty()
    assert skipped["account_id"].to_list() == [f"c{j:03d}" for j in range(201)]
    assert skipped["bands"].to_list() == [SIGNATURE // 2] * 201
    with pytest.raises(KeyError, match="nobody"):
        jaccard_estimate(network(transactions(rows)), ["c000", "nobody"], as_of=NOW)


@given(payments(accounts=5, most=25), st.lists(st.sampled_from(["US", "PH", None]), min_size=50, max_size=50))
@settings(max_examples=60, deadline=None)
def test_corridors_equal_brute_force(rows: list[Any], countries: list[str | None]) -> None:
    n = len(rows)
    table = transactions(rows).with_columns(
        debtor_country=pl.Series(countries[:n], dtype=pl.String),
        creditor_country=pl.Series(countries[25 : 25 + n], dtype=pl.String),
    )
    accounts = fit(
        pl.DataFrame({"account_id": ["a0", "a1"], "party_id": ["p0", "p1"], "country": ["RO", None]}), ACCOUNTS
    )
    parties = fit(pl.DataFrame({"party_id": ["p0", "p1"], "country": ["US", "DE"]}), PARTIES)
    home = {"a0": "RO", "a1": "DE"}
    given_tables = {"transactions": table.lazy(), "accounts": accounts.lazy(), "parties": parties.lazy()}
    found = corridors(network(table), given_tables, as_of=NOW)
    sides: dict[str, list[tuple[str | None, str | None, int]]] = {}
    for i, (u, v, _, cents) in enumerate(rows):
        if u == v or cents is None:
            continue
        payer, payee = countries[i] or home.get(u), countries[25 + i] or home.get(v)
        sides.setdefault(u, []).append((payer, payee, cents))
        sides.setdefault(v, []).append((payee, payer, cents))
    assert set(found["account_id"]) == {a for a, own in sides.items() if any(other for _, other, _ in own)}
    for row in found.iter_rows(named=True):
        own = sides[row["account_id"]]
        by: dict[str, int] = {}
        for _, other, cents in own:
            if other:
                by[other] = by.get(other, 0) + cents
        entropy, _, _, top = spread(list(by.values()))
        assert row["countries"] == len(by)
        assert close(row["corridor_entropy"], entropy)
        assert close(row["top_country_share"], top)
        both = [(a, b, c) for a, b, c in own if a and b]
        over = sum(c for a, b, c in both if a != b)
        assert close(row["cross_border_share"], over / sum(c for *_, c in both) if both else None)
        assert close(row["known_share"], sum(by.values()) / sum(c for *_, c in own))
